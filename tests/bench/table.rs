//! The table: each measure beside its floor, and one operator beside another.

use std::fmt::Write;
use std::time::Duration;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    MiB,
    Bytes,
    PerSecond,
    Number,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Seconds if value.abs() < 10.0 => format!("{value:.2} s"),
            Self::Seconds => format!("{value:.1} s"),
            Self::MiB => format!("{:.1} MiB", value / 1024.0 / 1024.0),
            Self::Bytes => format!("{} B", grouped(value)),
            Self::PerSecond => format!("{value:.1}/s"),
            Self::Number => grouped(value),
        }
    }
}

/// A whole number in groups of three digits.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    match value < 0.0 && digits != "0" {
        true => format!("-{text}"),
        false => text,
    }
}

#[derive(Clone, Copy)]
struct Cell {
    value: f64,
    floor: Option<f64>,
}

struct Row {
    what: String,
    unit: Unit,
    cells: Vec<Option<Cell>>,
}

/// The rows, in the order of their coming.
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Table {
    /// One with a column for each operator.
    pub fn new(columns: Vec<&'static str>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Puts a number into a column.
    pub fn put(&mut self, column: usize, what: &str, unit: Unit, value: f64) {
        self.put_cell(column, what, unit, Cell { value, floor: None });
    }

    /// Puts a number into a column, with what it is held against.
    pub fn put_beside(&mut self, column: usize, what: &str, unit: Unit, value: f64, floor: f64) {
        let floor = Some(floor);
        self.put_cell(column, what, unit, Cell { value, floor });
    }

    fn put_cell(&mut self, column: usize, what: &str, unit: Unit, cell: Cell) {
        println!("    {what}: {}", with_ratio(unit, cell));
        let at = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row {
                what: what.to_owned(),
                unit,
                cells: vec![None; self.columns.len()],
            });
            self.rows.len() - 1
        });
        self.rows[at].cells[column] = Some(cell);
    }

    /// All of it in Markdown.
    pub fn markdown(&self) -> String {
        let mut head = vec!["Measure".to_owned(), "Floor".to_owned()];
        for column in &self.columns {
            head.extend([(*column).to_owned(), "× floor".to_owned()]);
        }
        let compares = self.columns.len() == 2;
        if compares {
            head.push(format!("{} ÷ {}", self.columns[1], self.columns[0]));
        }
        let mut text = String::new();
        let mut line = |cells: &[String]| writeln!(text, "| {} |", cells.join(" | ")).unwrap();
        let rule: Vec<String> = (0..head.len())
            .map(|index| if index == 0 { "---" } else { "---:" }.to_owned())
            .collect();
        line(&head);
        line(&rule);
        for row in &self.rows {
            let mut cells = vec![row.what.clone(), row.floors()];
            for cell in &row.cells {
                cells.push(cell.map_or_else(|| "–".to_owned(), |cell| row.unit.text(cell.value)));
                cells.push(cell.and_then(ratio).unwrap_or_default());
            }
            if compares {
                cells.push(row.comparison());
            }
            line(&cells);
        }
        text
    }
}

impl Row {
    /// The floor of each column, which is measured anew for each. Equal ones once.
    fn floors(&self) -> String {
        let floors = self.cells.iter().flatten().filter_map(|cell| cell.floor);
        let mut texts: Vec<String> = floors.map(|floor| self.unit.text(floor)).collect();
        texts.dedup();
        texts.join(", ")
    }

    fn comparison(&self) -> String {
        match self.cells.as_slice() {
            [Some(one), Some(other)] if one.value > 0.0 => format!("{:.2}", other.value / one.value),
            _ => String::new(),
        }
    }
}

fn ratio(cell: Cell) -> Option<String> {
    let floor = cell.floor.filter(|floor| *floor > 0.0)?;
    Some(format!("{:.2}", cell.value / floor))
}

fn with_ratio(unit: Unit, cell: Cell) -> String {
    let value = unit.text(cell.value);
    match (cell.floor, ratio(cell)) {
        (Some(floor), Some(ratio)) => format!("{value}, {ratio} times the floor of {}", unit.text(floor)),
        _ => value,
    }
}

/// The values below which that share of the samples lies: `0.5` is the median.
pub fn percentile(samples: &[Duration], share: f64) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().map(|sample| sample.as_secs_f64() * 1000.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}
