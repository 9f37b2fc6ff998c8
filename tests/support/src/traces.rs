//! Traces as plain values, read from Jaeger's JSON and drawn for a terminal.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// What a drawn trace shows of a span: the attribute, and the word before its value.
const SHOWN_ATTRIBUTES: [(&str, &str); 5] = [
    ("aws_assume_role.trigger", "trigger "),
    ("aws_assume_role.outcome", "outcome "),
    ("http.response.status_code", "HTTP "),
    ("error.type", ""),
    ("aws.request_id", "request "),
];

/// How wide a drawn trace is at most, in columns.
const WIDTH: usize = 105;

/// One trace: a tree of spans.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The attributes of who sent it.
    pub resource: BTreeMap<String, String>,
    root: SpanNode,
}

/// One span with those below it.
#[derive(Clone, Debug)]
pub struct SpanNode {
    /// Its name.
    pub name: String,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Its attributes, and what Jaeger makes one of, like `span.kind`, `otel.status_code` and `otel.status_description`.
    pub attributes: BTreeMap<String, String>,
    /// Its events: name and attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// The ids of the traces that it is linked to.
    pub links: Vec<String>,
    /// Whether its status is an error.
    pub error: bool,
    /// The spans below it, in the order of their start.
    pub children: Vec<SpanNode>,
}

/// Spans by the id of their parent.
type ChildrenByParent<'a> = BTreeMap<Option<&'a str>, Vec<&'a Value>>;

impl Trace {
    /// Reads one of the traces of an answer of `/api/traces`. There is none as long as the root or another parent has not arrived.
    pub fn parse(trace: &Value) -> Option<Self> {
        let spans = trace["spans"].as_array()?;
        let mut children_of = ChildrenByParent::new();
        for span in spans {
            children_of.entry(parent(span)).or_default().push(span);
        }
        for siblings in children_of.values_mut() {
            siblings.sort_by_key(|span| (span["startTime"].as_u64(), span["duration"].as_u64()));
        }
        let roots = children_of.get(&None)?;
        assert_eq!(roots.len(), 1, "a trace with many roots: {trace}");
        let process = roots[0]["processID"].as_str().unwrap_or_default();
        let trace = Self {
            id: text(&trace["traceID"]),
            resource: attributes(&trace["processes"][process]["tags"]),
            root: SpanNode::parse(roots[0], &children_of),
        };
        (trace.root.all().len() == spans.len()).then_some(trace)
    }

    /// The span above all others.
    pub fn root(&self) -> &SpanNode {
        &self.root
    }

    /// The tree for a terminal: a line per span with its place in time, its duration and what tells most of it.
    pub fn draw(&self) -> String {
        let mut rows = Vec::new();
        rows_below(&self.root, "", "", &mut rows);
        let begin = self.root.start;
        let whole = rows.iter().map(|row| row.span.end_since(begin)).max();
        let whole = whole.unwrap_or_default().max(Duration::from_micros(1));
        let widest = |length: fn(&Row<'_>) -> usize| rows.iter().map(length).max().unwrap_or_default();
        let label = widest(|row| row.label.chars().count());
        // Besides it a line has the duration and four blanks.
        let others = label + widest(|row| row.notes.chars().count()) + 10 + 4;
        let width = WIDTH.saturating_sub(others).clamp(12, 40);
        let mut drawing = String::new();
        for row in &rows {
            let bar = bar(row.span.start_since(begin), row.span.end_since(begin), whole, width);
            let milliseconds = row.span.duration.as_secs_f64() * 1000.0;
            let line = format!("{:<label$} {bar} {milliseconds:>7.1} ms  {}", row.label, row.notes);
            drawing.push_str(&cut(line.trim_end(), WIDTH));
            drawing.push('\n');
        }
        drawing
    }
}

impl SpanNode {
    fn parse(span: &Value, children_of: &ChildrenByParent<'_>) -> Self {
        let attributes = attributes(&span["tags"]);
        let has = |name: &str, value: &str| attributes.get(name).is_some_and(|is| is == value);
        let links = list(&span["references"]).filter(|reference| !is_parent(span, reference));
        let children = children_of.get(&span["spanID"].as_str());
        Self {
            name: text(&span["operationName"]),
            start: SystemTime::UNIX_EPOCH + microseconds(&span["startTime"]),
            duration: microseconds(&span["duration"]),
            events: list(&span["logs"]).map(event).collect(),
            links: links.map(|link| text(&link["traceID"])).collect(),
            error: has("otel.status_code", "ERROR") || has("error", "true"),
            children: children
                .into_iter()
                .flatten()
                .map(|child| Self::parse(child, children_of))
                .collect(),
            attributes,
        }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&SpanNode> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The names of the children.
    pub fn names(&self) -> Vec<&str> {
        self.children.iter().map(|child| child.name.as_str()).collect()
    }

    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// This span and all below it.
    pub fn all(&self) -> Vec<&SpanNode> {
        let below = self.children.iter().flat_map(SpanNode::all);
        std::iter::once(self).chain(below).collect()
    }

    /// The names of this span and all below it, one a line, indented by two blanks for each level.
    pub fn shape(&self) -> String {
        let mut lines = vec![self.name.clone()];
        for child in &self.children {
            lines.extend(child.shape().lines().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    fn start_since(&self, begin: SystemTime) -> Duration {
        self.start.duration_since(begin).unwrap_or_default()
    }

    fn end_since(&self, begin: SystemTime) -> Duration {
        self.start_since(begin) + self.duration
    }
}

/// A line of a drawn trace.
struct Row<'a> {
    label: String,
    notes: String,
    span: &'a SpanNode,
}

/// The rows of a span and those below it, which come after `before` and go on with `below`.
fn rows_below<'a>(span: &'a SpanNode, before: &str, below: &str, rows: &mut Vec<Row<'a>>) {
    rows.push(Row {
        label: format!("{before}{}", span.name),
        notes: notes(span),
        span,
    });
    for (index, child) in span.children.iter().enumerate() {
        let (branch, trunk) = match index + 1 == span.children.len() {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        rows_below(child, &format!("{below}{branch}"), &format!("{below}{trunk}"), rows);
    }
}

fn notes(span: &SpanNode) -> String {
    let shown = SHOWN_ATTRIBUTES
        .iter()
        .filter_map(|(name, word)| span.attribute(name).map(|value| format!("{word}{value}")));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match span.error {
        true => format!("✗ {shown}"),
        false => shown,
    }
}

/// What is from `start` to `end` of a whole, in so many columns; at least one of them.
fn bar(start: Duration, end: Duration, whole: Duration, width: usize) -> String {
    let columns = |part: Duration| part.as_secs_f64() / whole.as_secs_f64() * width as f64;
    let from = (columns(start).floor() as usize).min(width - 1);
    let to = (columns(end).ceil() as usize).clamp(from + 1, width);
    ["·".repeat(from), "█".repeat(to - from), "·".repeat(width - to)].concat()
}

fn cut(line: &str, width: usize) -> String {
    match line.chars().count() > width {
        true => line.chars().take(width - 1).chain(['…']).collect(),
        false => line.to_owned(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn microseconds(value: &Value) -> Duration {
    Duration::from_micros(value.as_u64().unwrap_or_default())
}

fn is_parent(span: &Value, reference: &Value) -> bool {
    reference["refType"] == "CHILD_OF" && reference["traceID"] == span["traceID"]
}

fn parent(span: &Value) -> Option<&str> {
    list(&span["references"])
        .find(|reference| is_parent(span, reference))
        .and_then(|reference| reference["spanID"].as_str())
}

fn attributes(tags: &Value) -> BTreeMap<String, String> {
    list(tags).map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect()
}

/// An event's name is one of its fields for Jaeger.
fn event(log: &Value) -> (String, BTreeMap<String, String>) {
    let mut fields = attributes(&log["fields"]);
    (fields.remove("event").unwrap_or_default(), fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, start: u64, duration: u64, tags: Value) -> Value {
        let references = parent.map(|parent| json!({"refType": "CHILD_OF", "traceID": "t", "spanID": parent}));
        json!({
            "traceID": "t", "spanID": id, "operationName": name, "references": Vec::from_iter(references),
            "startTime": 1_000_000 + start, "duration": duration, "tags": tags, "logs": [], "processID": "p1",
        })
    }

    fn tag(name: &str, value: Value) -> Value {
        json!({"key": name, "type": "any", "value": value})
    }

    fn refresh() -> Value {
        let mut root = span(
            "1",
            None,
            "refresh",
            0,
            100_000,
            json!([
                tag("aws_assume_role.trigger", json!("retry")),
                tag("aws_assume_role.outcome", json!("failed")),
            ]),
        );
        root["references"] = json!([{"refType": "FOLLOWS_FROM", "traceID": "before", "spanID": "9"}]);
        let mut call = span(
            "2",
            Some("1"),
            "sts.AssumeRole",
            10_000,
            70_000,
            json!([
                tag("otel.status_code", json!("ERROR")),
                tag("http.response.status_code", json!(403)),
                tag("aws.request_id", json!("r-1")),
                tag("error.type", json!("AccessDenied")),
            ]),
        );
        call["logs"] = json!([{"timestamp": 1, "fields": [
            tag("event", json!("exception")),
            tag("exception.message", json!("no")),
        ]}]);
        json!({
            "traceID": "t",
            "spans": [
                span("4", Some("1"), "status.write", 80_000, 20_000, json!([])),
                call,
                span("3", Some("2"), "gate.wait", 0, 100, json!([])),
                root,
            ],
            "processes": {"p1": {"serviceName": "aws-assume-role", "tags": [tag("service.version", json!("2"))]}},
        })
    }

    #[test]
    fn a_trace_is_read() {
        let trace = Trace::parse(&refresh()).unwrap();
        let root = trace.root();
        assert_eq!(trace.id, "t");
        assert_eq!(trace.resource["service.version"], "2");
        assert_eq!(root.shape(), "refresh\n  sts.AssumeRole\n    gate.wait\n  status.write");
        assert_eq!(root.names(), ["sts.AssumeRole", "status.write"]);
        assert_eq!(root.all().len(), 4);
        assert_eq!(root.links, ["before"]);
        assert!(!root.error);
        let call = root.child("sts.AssumeRole").unwrap();
        assert_eq!(call.start, SystemTime::UNIX_EPOCH + Duration::from_micros(1_010_000));
        assert_eq!(call.duration, Duration::from_millis(70));
        assert_eq!(call.attribute("http.response.status_code"), Some("403"));
        assert!(call.error && call.links.is_empty());
        let (name, fields) = &call.events[0];
        assert_eq!(
            (name.as_str(), fields["exception.message"].as_str()),
            ("exception", "no")
        );
        assert!(root.child("secret.write").is_none());
    }

    #[test]
    fn what_has_not_arrived_as_a_whole_is_no_trace() {
        for (missing, whole) in [(3, false), (1, false), (0, true)] {
            let mut trace = refresh();
            trace["spans"].as_array_mut().unwrap().remove(missing);
            assert_eq!(Trace::parse(&trace).is_some(), whole, "{missing}");
        }
    }

    #[test]
    fn a_trace_is_drawn() {
        let drawing = Trace::parse(&refresh()).unwrap().draw();
        let bars = [
            "█".repeat(37),
            format!("{}{}{}", "·".repeat(3), "█".repeat(27), "·".repeat(7)),
            format!("█{}", "·".repeat(36)),
            format!("{}{}", "·".repeat(29), "█".repeat(8)),
        ];
        let lines = [
            format!(
                "refresh           {}   100.0 ms  trigger retry, outcome failed",
                bars[0]
            ),
            format!(
                "├─ sts.AssumeRole {}    70.0 ms  ✗ HTTP 403, AccessDenied, request r-1",
                bars[1]
            ),
            format!("│  └─ gate.wait   {}     0.1 ms", bars[2]),
            format!("└─ status.write   {}    20.0 ms", bars[3]),
        ];
        assert_eq!(drawing.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_drawing_is_not_too_wide() {
        let mut trace = refresh();
        trace["spans"][0]["operationName"] = json!("s".repeat(60));
        trace["spans"][1]["tags"][2]["value"] = json!("r".repeat(60));
        let drawing = Trace::parse(&trace).unwrap().draw();
        assert!(drawing.lines().all(|line| line.chars().count() <= WIDTH), "{drawing}");
        assert!(drawing.contains('…'), "{drawing}");
    }
}
