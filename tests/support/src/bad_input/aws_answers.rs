//! Answers of AWS, and of whatever may stand before it: with what belongs in them, with something missing, doubled or senseless, and cut off.
//! Credentials stand only where AWS puts them.

use serde_json::{Value, json};

use super::Planted;
use super::choices::Choices;
use super::json;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Canned {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// An element of XML.
enum Element {
    Text(&'static str, String),
    Parent(&'static str, Vec<Element>),
}

impl Element {
    fn written(&self) -> String {
        match self {
            Self::Text(name, text) => format!("<{name}>{}</{name}>", escaped(text)),
            Self::Parent(name, inner) => {
                let inner: String = inner.iter().map(Self::written).collect();
                format!("<{name}>{inner}</{name}>")
            }
        }
    }

    /// Leaves something out, or says it twice, or something else instead.
    fn garble(&mut self, choices: &mut Choices<'_>) {
        let Self::Parent(name, inner) = self else { return };
        if choices.one_in(8) {
            *name = choices.of(&["Error", "ErrorResponse", "AssumeRoleResult", "html", "x:y"]);
        }
        if inner.is_empty() {
            return;
        }
        let at = choices.below(inner.len());
        match choices.below(5) {
            0 => inner[at].garble(choices),
            1 => drop(inner.remove(at)),
            2 => {
                let copy = match &inner[at] {
                    Self::Text(name, text) => Self::Text(name, text.clone()),
                    Self::Parent(name, _) => Self::Parent(name, Vec::new()),
                };
                inner.push(copy);
            }
            3 => match &mut inner[at] {
                Self::Text(_, text) => *text = json::text(choices),
                other => other.garble(choices),
            },
            _ => inner.insert(at, Self::Text("Unknown", json::text(choices))),
        }
    }
}

/// What XML cannot hold stays as it is: an answer may be no XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const CODES: [&str; 26] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "InvalidSignature",
    "IncompleteSignature",
    "Throttling",
    "ThrottlingException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RegionDisabledException",
    "PackedPolicyTooLarge",
    "MalformedPolicyDocument",
    "ValidationError",
    "InternalFailure",
    "ServerException",
    "com.amazonaws.ecr#ServerException",
    "ServerException:http://internal.amazon.com/",
    "OptInRequired",
    "Exception",
    "",
    "a b",
];

/// An answer. The request was signed with a session whose token is the planted one, as ECR's are, and Pod Identity's.
pub fn made(choices: &mut Choices<'_>, planted: &Planted) -> Canned {
    let mut body = match choices.below(9) {
        0 | 1 => {
            let session = session(end(choices), planted);
            xml(choices, session)
        }
        2 => xml(choices, identity()),
        3 | 4 => {
            let error = error(choices, planted);
            xml(choices, error)
        }
        5 => login(choices, planted).to_string(),
        6 => json_error(choices, planted).to_string(),
        7 => page(choices),
        _ => json::text(choices),
    };
    if choices.one_in(4) {
        let place = choices.place_in(&body);
        body.truncate(place);
    }
    let status = choices.of(&[200, 400, 403, 500, 503, 429, 401, 404, 204, 301, 302, 413, 201, 599]);
    Canned {
        status,
        headers: headers(choices),
        body: body.into_bytes(),
    }
}

fn xml(choices: &mut Choices<'_>, mut root: Element) -> String {
    for _ in 0..choices.below(4) {
        root.garble(choices);
    }
    let prolog = choices.of(&[
        "",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "\u{feff}",
        "<!DOCTYPE a [<!ENTITY b \"c\">]>",
        "\n\n",
    ]);
    format!("{prolog}{}", root.written())
}

fn session(expiration: String, planted: &Planted) -> Element {
    let credentials = vec![
        Element::Text("AccessKeyId", format!("ASIA{}", planted.0)),
        Element::Text("SecretAccessKey", format!("{}/+=", planted.0)),
        Element::Text("SessionToken", format!("token-{}", planted.0)),
        Element::Text("Expiration", expiration),
    ];
    let user = vec![
        Element::Text("AssumedRoleId", "AROA:session".to_owned()),
        Element::Text("Arn", "arn:aws:sts::123456789012:assumed-role/r/session".to_owned()),
    ];
    let result = vec![
        Element::Parent("Credentials", credentials),
        Element::Parent("AssumedRoleUser", user),
        Element::Text("PackedPolicySize", "6".to_owned()),
    ];
    let metadata = vec![Element::Text("RequestId", "the-request".to_owned())];
    let result = Element::Parent("AssumeRoleResult", result);
    Element::Parent(
        "AssumeRoleResponse",
        vec![result, Element::Parent("ResponseMetadata", metadata)],
    )
}

fn identity() -> Element {
    let result = vec![
        Element::Text(
            "Arn",
            "arn:aws:sts::123456789012:assumed-role/operator/eks-1".to_owned(),
        ),
        Element::Text("UserId", "AROA:eks-1".to_owned()),
        Element::Text("Account", "123456789012".to_owned()),
    ];
    let result = Element::Parent("GetCallerIdentityResult", result);
    Element::Parent("GetCallerIdentityResponse", vec![result])
}

fn error(choices: &mut Choices<'_>, planted: &Planted) -> Element {
    let code = choices.of(&CODES);
    let error = vec![
        Element::Text("Type", choices.of(&["Sender", "Receiver", ""]).to_owned()),
        Element::Text("Code", code.to_owned()),
        Element::Text("Message", message(choices, code, planted)),
    ];
    let error = Element::Parent("Error", error);
    let id = Element::Text("RequestId", choices.of(&["the-request", ""]).to_owned());
    match choices.below(3) {
        0 | 1 => Element::Parent("ErrorResponse", vec![error, id]),
        // As the gateway before EC2 has it, and moto.
        _ => Element::Parent("Response", vec![Element::Parent("Errors", vec![error]), id]),
    }
}

/// AWS quotes the request where its signature is wrong.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
fn message(choices: &mut Choices<'_>, code: &str, planted: &Planted) -> String {
    if code.contains("Signature") {
        return format!(
            "The request signature we calculated does not match the signature you provided. The Canonical String for this request should \
             have been\n'POST\n/\n\nhost:sts.amazonaws.com\nx-amz-security-token:token-{}\n\nhost;x-amz-security-token\n'",
            planted.0
        )
        .replace('\n', choices.of(&["\n", " ", "\r\n"]));
    }
    match choices.below(3) {
        0 => "User: arn:aws:iam::123456789012:user/u is not authorized to perform: sts:AssumeRole".to_owned(),
        1 => "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            .to_owned(),
        _ => json::text(choices),
    }
}

fn login(choices: &mut Choices<'_>, planted: &Planted) -> Value {
    use base64::Engine;
    let token = format!("{}{}", choices.of(&["AWS:", "AWS", ":", "", "a:b:"]), planted.0);
    let token = match choices.one_in(4) {
        true => token,
        false => base64::prelude::BASE64_STANDARD.encode(token),
    };
    let times = [
        json!(1_767_268_800.0),
        json!(1),
        json!(-1e300),
        json!(1e18),
        json!("2026-01-01T12:00:00Z"),
        json!("NaN"),
        json!(null),
    ];
    let mut data = json!({"authorizationToken": token, "expiresAt": choices.of(&times), "proxyEndpoint": "https://a"});
    if choices.one_in(3) {
        let field = choices.of(&["expiresAt", "proxyEndpoint", "unknown"]);
        data[field] = json::value(choices, 2);
    }
    match choices.below(5) {
        0 | 1 => json!({"authorizationData": [data]}),
        2 => json!({"authorizationData": data}),
        3 => json!({"authorizationData": [null, data]}),
        _ => json!([{"authorizationData": [data, data]}]),
    }
}

fn json_error(choices: &mut Choices<'_>, planted: &Planted) -> Value {
    let code = choices.of(&CODES);
    let (type_, text) = (
        choices.of(&["__type", "code", "Code"]),
        choices.of(&["message", "Message", "errorMessage"]),
    );
    let mut error = json!({type_: code, text: message(choices, code, planted)});
    if choices.one_in(4) {
        error[type_] = json::value(choices, 1);
    }
    error
}

fn page(choices: &mut Choices<'_>) -> String {
    let text = json::text(choices);
    format!("<html><head><title>{text}</title></head><body><h1>{text}</h1><Code>{text}</Code></body></html>")
}

/// When a session ends.
fn end(choices: &mut Choices<'_>) -> String {
    let times = [
        "2026-01-01T01:00:00Z",
        "2026-01-01T01:00:00.123456789Z",
        "2015-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-01-01T01:00:00+09:00",
        "2026-13-45T99:99:99Z",
        "1767229200",
        "tomorrow",
        "",
    ];
    choices.of(&times).to_owned()
}

fn headers(choices: &mut Choices<'_>) -> Vec<(&'static str, String)> {
    let mut headers = vec![(
        "content-type",
        choices
            .of(&["text/xml", "application/x-amz-json-1.1", "text/html", ""])
            .to_owned(),
    )];
    let date = choices.of(&[
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 2026 00:30:00 GMT",
        "Wed, 31 Dec 2025 20:00:00 GMT",
        "Thu, 01 Jan 0000 00:00:00 GMT",
        "now",
        "",
    ]);
    headers.push(("date", date.to_owned()));
    for _ in 0..choices.below(3) {
        let header = match choices.below(4) {
            0 => (
                "retry-after",
                choices
                    .of(&[
                        "1",
                        "0",
                        "-1",
                        "18446744073709551615",
                        "1e9",
                        "Fri, 31 Dec 9999 23:59:59 GMT",
                    ])
                    .to_owned(),
            ),
            1 => ("x-amzn-requestid", json::text(choices)),
            2 => ("x-amzn-errortype", choices.of(&CODES).to_owned()),
            _ => ("x-amz-crc32", "1".to_owned()),
        };
        headers.push(header);
    }
    headers
}
