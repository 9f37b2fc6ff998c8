//! The filter `format`: printf's `%s`, `%d`, `%x` and `%%`, with flags `-` and `0`, a width and a precision.

use std::iter::Peekable;
use std::rc::Rc;
use std::str::Chars;

use super::filters::text;
use super::value::{Value, Work};

/// The most that a width or a precision can be. More lines nothing up.
const WIDTH_MAX: usize = 1024;

pub(super) fn format(pattern: &str, values: &[Value], work: &mut Work) -> Result<Value, String> {
    let mut values = values.iter();
    let mut result = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(char) = rest.next() {
        if char != '%' {
            result.push(char);
            continue;
        }
        let directive = Directive::read(&mut rest)?;
        if directive.conversion == '%' {
            result.push('%');
            continue;
        }
        let value = values.next().ok_or("format has fewer values than directives")?;
        let shown = directive.shown(value)?;
        work.pay_text(result.len() + shown.len() + WIDTH_MAX)?;
        directive.write(&shown, &mut result);
    }
    match values.next() {
        Some(_) => Err("format has more values than directives".to_owned()),
        None => work.text(result),
    }
}

struct Directive {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl Directive {
    fn read(rest: &mut Peekable<Chars<'_>>) -> Result<Self, String> {
        let (mut left, mut zeros) = (false, false);
        while let Some(flag) = rest.next_if(|char| "-0".contains(*char)) {
            left |= flag == '-';
            zeros |= flag == '0';
        }
        let width = number(rest)?.unwrap_or_default();
        let precision = match rest.next_if_eq(&'.') {
            Some(_) => Some(number(rest)?.unwrap_or_default()),
            None => None,
        };
        match rest.next() {
            Some(conversion @ ('s' | 'd' | 'x' | 'X' | '%')) => Ok(Self {
                left,
                zeros,
                width,
                precision,
                conversion,
            }),
            _ => Err("format knows the directives %s, %d, %x, %X and %%".to_owned()),
        }
    }

    fn shown(&self, value: &Value) -> Result<Rc<str>, String> {
        let shown = match (self.conversion, value) {
            ('s', value) => text(value, "each value of format")?,
            ('d', Value::Int(number)) => number.to_string().into(),
            ('x', Value::Int(number)) if *number >= 0 => format!("{number:x}").into(),
            ('X', Value::Int(number)) if *number >= 0 => format!("{number:X}").into(),
            (conversion, value) => return Err(format!("%{conversion} does not take this {}", value.kind())),
        };
        Ok(match self.precision {
            Some(precision) if self.conversion == 's' => shown.chars().take(precision).collect::<String>().into(),
            _ => shown,
        })
    }

    fn write(&self, shown: &str, result: &mut String) {
        let missing = self.width.saturating_sub(shown.chars().count());
        if self.left {
            result.push_str(shown);
            result.extend(std::iter::repeat_n(' ', missing));
            return;
        }
        let zeros = self.zeros && self.conversion != 's';
        let (sign, digits) = match shown.strip_prefix('-') {
            Some(digits) if zeros => ("-", digits),
            _ => ("", shown),
        };
        result.push_str(sign);
        result.extend(std::iter::repeat_n(if zeros { '0' } else { ' ' }, missing));
        result.push_str(digits);
    }
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, String> {
    let mut number = None;
    while let Some(digit) = rest.peek().and_then(|char| char.to_digit(10)) {
        rest.next();
        let larger = number.unwrap_or(0_usize) * 10 + digit as usize;
        if larger > WIDTH_MAX {
            return Err(format!("a width of format is at most {WIDTH_MAX}"));
        }
        number = Some(larger);
    }
    Ok(number)
}
