//! A small engine for minijinja's syntax tree.
//!
//! minijinja's own is not used, because its fuel does not count everything: it compares texts for nothing, and a list of lists, each of
//! which holds the one before it many times, is printed or compared in exponential time for one unit. Here a value is flat, whatever is done
//! with it is paid for beforehand, and there is nothing but what the documents promise.

use std::collections::BTreeMap;
use std::rc::Rc;

use minijinja::machinery::Span;
use minijinja::machinery::ast::{self, CallArg, Expr, Stmt};
use minijinja::value::ValueKind;

use super::filters::{self, Arguments, text};
use super::operators;
use super::value::{STEP, Value, Work};
use crate::spec::excerpt;

/// Why a template cannot be rendered.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) line: usize,
}

/// A template at work.
pub(super) struct Engine<'a, 'w> {
    variables: &'a BTreeMap<&'static str, &'a str>,
    /// What was set, a map for each block that is open.
    scopes: Vec<BTreeMap<&'a str, Value>>,
    /// The loops that are open: which turn of how many.
    loops: Vec<(usize, usize)>,
    output: String,
    work: &'w mut Work,
}

impl<'a, 'w> Engine<'a, 'w> {
    pub(super) fn new(variables: &'a BTreeMap<&'static str, &'a str>, work: &'w mut Work) -> Self {
        Self {
            variables,
            scopes: vec![BTreeMap::new()],
            loops: Vec::new(),
            output: String::new(),
            work,
        }
    }

    /// Renders a template.
    pub(super) fn render(mut self, template: &'a Stmt<'a>) -> Result<String, Fault> {
        self.statement(template)?;
        Ok(self.output)
    }

    fn statements(&mut self, statements: &'a [Stmt<'a>]) -> Result<(), Fault> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &'a Stmt<'a>) -> Result<(), Fault> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(raw) => self.emit(raw.raw, raw.span()),
            Stmt::EmitExpr(emitted) => {
                let value = self.value(&emitted.expr)?;
                let text = text(&value, "what is printed").map_err(at(emitted.span()))?;
                self.emit(&text, emitted.span())
            }
            Stmt::IfCond(condition) => match self.value(&condition.expr)?.is_true() {
                true => self.statements(&condition.true_body),
                false => self.statements(&condition.false_body),
            },
            Stmt::ForLoop(this) => self.for_loop(this),
            Stmt::Set(set) => {
                let value = self.value(&set.expr)?;
                self.set(&set.target, value)
            }
            Stmt::SetBlock(set) => self.set_block(set),
            Stmt::WithBlock(other) => Err(no_statement("with", other.span())),
            Stmt::AutoEscape(other) => Err(no_statement("autoescape", other.span())),
            Stmt::FilterBlock(other) => Err(no_statement("filter", other.span())),
            Stmt::Do(other) => Err(no_statement("do", other.span())),
        }
    }

    fn emit(&mut self, text: &str, span: Span) -> Result<(), Fault> {
        self.pay(STEP + text.len(), span)?;
        self.output.push_str(text);
        Ok(())
    }

    fn set(&mut self, target: &'a Expr<'a>, value: Value) -> Result<(), Fault> {
        let Expr::Var(name) = target else {
            return Err(fault("one plain name can be set at a time", target.span()));
        };
        self.pay(STEP, target.span())?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.id, value);
        }
        Ok(())
    }

    fn set_block(&mut self, set: &'a ast::Spanned<ast::SetBlock<'a>>) -> Result<(), Fault> {
        let before = std::mem::take(&mut self.output);
        self.scopes.push(BTreeMap::new());
        self.statements(&set.body)?;
        self.scopes.pop();
        let captured = std::mem::replace(&mut self.output, before);
        let mut value = self.work.text(captured).map_err(at(set.span()))?;
        if let Some(filter) = &set.filter {
            value = self.filtered(filter, value)?;
        }
        self.set(&set.target, value)
    }

    /// The filters of a block, from the innermost outwards.
    fn filtered(&mut self, filter: &'a Expr<'a>, captured: Value) -> Result<Value, Fault> {
        let Expr::Filter(this) = filter else {
            return Err(fault("a filter is expected here", filter.span()));
        };
        let input = match &this.expr {
            Some(inner) => self.filtered(inner, captured)?,
            None => captured,
        };
        self.apply(this, input)
    }

    fn for_loop(&mut self, this: &'a ast::Spanned<ast::ForLoop<'a>>) -> Result<(), Fault> {
        if this.recursive {
            return Err(fault("a loop cannot be recursive", this.span()));
        }
        let mut items = self.items(&this.iter)?;
        if let Some(condition) = &this.filter_expr {
            let mut kept = Vec::new();
            for item in items.iter() {
                self.scopes.push(BTreeMap::new());
                self.set(&this.target, item.clone())?;
                if self.value(condition)?.is_true() {
                    kept.push(item.clone());
                }
                self.scopes.pop();
            }
            items = kept.into();
        }
        for (turn, item) in items.iter().enumerate() {
            self.pay(STEP, this.span())?;
            self.loops.push((turn, items.len()));
            self.scopes.push(BTreeMap::new());
            self.set(&this.target, item.clone())?;
            self.statements(&this.body)?;
            self.scopes.pop();
            self.loops.pop();
        }
        match items.is_empty() {
            true => self.statements(&this.else_body),
            false => Ok(()),
        }
    }

    /// What a loop goes over: a list's items, a text's characters.
    fn items(&mut self, expression: &'a Expr<'a>) -> Result<Rc<[Value]>, Fault> {
        match self.value(expression)? {
            Value::List(items) => Ok(items),
            Value::Text(text) => {
                self.pay(text.chars().count().saturating_mul(STEP), expression.span())?;
                Ok(text.chars().map(|char| Value::Text(char.to_string().into())).collect())
            }
            other => Err(fault(
                &format!("a loop goes over a list, not over a {}", other.kind()),
                expression.span(),
            )),
        }
    }

    /// The value of an expression that must have one.
    fn value(&mut self, expression: &'a Expr<'a>) -> Result<Value, Fault> {
        match (self.lookup(expression)?, expression) {
            (Value::Undefined, Expr::Var(name)) => {
                let (id, known) = (name.id, self.variables.keys().copied().collect::<Vec<_>>().join(", "));
                let what = match id.starts_with("registry") && !self.variables.contains_key("registry") {
                    true => format!("{id} is undefined: without spec.ecrRepositoryUrl a template may use {known}"),
                    false => format!("{id} is undefined: a template may use {known}"),
                };
                Err(fault(&what, expression.span()))
            }
            (Value::Undefined, _) => Err(fault("what is asked for is undefined", expression.span())),
            (value, _) => Ok(value),
        }
    }

    /// The value of an expression, or [`Value::Undefined`].
    fn lookup(&mut self, expression: &'a Expr<'a>) -> Result<Value, Fault> {
        let span = expression.span();
        self.pay(STEP, span)?;
        match expression {
            Expr::Var(name) => {
                let set = self.scopes.iter().rev().find_map(|scope| scope.get(name.id)).cloned();
                match set {
                    Some(value) => Ok(value),
                    None => match self.variables.get(name.id) {
                        Some(value) => self.work.text(*value).map_err(at(span)),
                        None => Ok(Value::Undefined),
                    },
                }
            }
            Expr::Const(constant) => self.constant(&constant.value, span),
            Expr::UnaryOp(this) => {
                let value = self.value(&this.expr)?;
                match this.op {
                    ast::UnaryOpKind::Not => Ok(Value::Bool(!value.is_true())),
                    ast::UnaryOpKind::Neg => operators::negate(&value).map_err(at(span)),
                }
            }
            Expr::BinOp(this) => match this.op {
                ast::BinOpKind::ScAnd => match self.value(&this.left)? {
                    left if left.is_true() => self.value(&this.right),
                    left => Ok(left),
                },
                ast::BinOpKind::ScOr => match self.value(&this.left)? {
                    left if left.is_true() => Ok(left),
                    _ => self.value(&this.right),
                },
                operator => {
                    let (left, right) = (self.value(&this.left)?, self.value(&this.right)?);
                    operators::binary(operator, &left, &right, self.work).map_err(at(span))
                }
            },
            Expr::Compare(this) => {
                let mut left = self.value(&this.expr)?;
                for next in &this.ops {
                    let right = self.value(&next.expr)?;
                    if !operators::compare(next.op, &left, &right, self.work).map_err(at(span))? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(this) => match (self.value(&this.test_expr)?.is_true(), &this.false_expr) {
                (true, _) => self.value(&this.true_expr),
                (false, Some(otherwise)) => self.value(otherwise),
                (false, None) => self.work.text("").map_err(at(span)),
            },
            Expr::Filter(this) => {
                let input = match &this.expr {
                    Some(inner) if this.name == "default" => self.lookup(inner)?,
                    Some(inner) => self.value(inner)?,
                    None => Value::Undefined,
                };
                self.apply(this, input)
            }
            Expr::Test(this) => self.test(this),
            Expr::GetAttr(this) => match (&this.expr, self.loops.last()) {
                (Expr::Var(name), Some(turn)) if name.id == "loop" => Ok(attribute(*turn, this.name)),
                _ => self.value(&this.expr).map(|_| Value::Undefined),
            },
            Expr::GetItem(this) => {
                let (value, index) = (self.value(&this.expr)?, self.value(&this.subscript_expr)?);
                operators::item(&value, &index, self.work).map_err(at(span))
            }
            Expr::Slice(this) => {
                if this.step.is_some() {
                    return Err(fault("a slice has a start and a stop, and no step", span));
                }
                let value = self.value(&this.expr)?;
                let start = this.start.as_ref().map(|start| self.value(start)).transpose()?;
                let stop = this.stop.as_ref().map(|stop| self.value(stop)).transpose()?;
                operators::slice(&value, start.as_ref(), stop.as_ref(), self.work).map_err(at(span))
            }
            Expr::List(this) => self.list(&this.items, span),
            Expr::Tuple(this) => self.list(&this.items, span),
            Expr::Map(_) => Err(fault("there are no maps", span)),
            Expr::Call(_) => Err(fault("there are no functions and methods: use a filter", span)),
        }
    }

    fn constant(&mut self, constant: &minijinja::Value, span: Span) -> Result<Value, Fault> {
        match constant.kind() {
            ValueKind::None => Ok(Value::None),
            ValueKind::Bool => Ok(Value::Bool(constant.is_true())),
            ValueKind::String => {
                let text = constant.as_str().unwrap_or_default();
                self.work.text(text).map_err(at(span))
            }
            _ => i64::try_from(constant.clone())
                .ok()
                .filter(|_| constant.is_integer())
                .map(Value::Int)
                .ok_or_else(|| fault("a number is a whole one of at most 64 bits", span)),
        }
    }

    fn list(&mut self, items: &'a [Expr<'a>], span: Span) -> Result<Value, Fault> {
        let items = items.iter().map(|item| match self.value(item)? {
            Value::List(_) => Err(fault("a list cannot hold a list", span)),
            value => Ok(value),
        });
        Ok(Value::List(items.collect::<Result<_, _>>()?))
    }

    fn test(&mut self, test: &'a ast::Spanned<ast::Test<'a>>) -> Result<Value, Fault> {
        if !test.args.is_empty() {
            return Err(fault("a test has no arguments", test.span()));
        }
        let value = match test.name {
            "defined" => !matches!(self.lookup(&test.expr)?, Value::Undefined),
            "undefined" => matches!(self.lookup(&test.expr)?, Value::Undefined),
            "none" => matches!(self.value(&test.expr)?, Value::None),
            other => return Err(fault(&format!("there is no test {other}"), test.span())),
        };
        Ok(Value::Bool(value))
    }

    fn apply(&mut self, filter: &'a ast::Spanned<ast::Filter<'a>>, input: Value) -> Result<Value, Fault> {
        let mut arguments = Arguments {
            positional: Vec::new(),
            named: Vec::new(),
        };
        for argument in &filter.args {
            match argument {
                CallArg::Pos(value) => arguments.positional.push(self.value(value)?),
                CallArg::Kwarg(name, value) => arguments.named.push((*name, self.value(value)?)),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return Err(fault("arguments cannot be unpacked", filter.span()));
                }
            }
        }
        filters::apply(filter.name, input, arguments, self.work)
            .map_err(|what| fault(&format!("filter {}: {what}", filter.name), filter.span()))
    }

    fn pay(&mut self, units: usize, span: Span) -> Result<(), Fault> {
        self.work.pay(units).map_err(at(span))
    }
}

/// What a loop tells of its turn.
fn attribute((turn, turns): (usize, usize), name: &str) -> Value {
    match name {
        "index" => Value::count(turn + 1),
        "index0" => Value::count(turn),
        "revindex" => Value::count(turns - turn),
        "revindex0" => Value::count(turns - turn - 1),
        "first" => Value::Bool(turn == 0),
        "last" => Value::Bool(turn + 1 == turns),
        "length" => Value::count(turns),
        _ => Value::Undefined,
    }
}

fn no_statement(name: &str, span: Span) -> Fault {
    fault(&format!("there is no statement {name}"), span)
}

fn fault(what: &str, span: Span) -> Fault {
    at(span)(what.to_owned())
}

fn at(span: Span) -> impl Fn(String) -> Fault {
    move |what| Fault {
        what: excerpt(&what),
        line: span.start_line.into(),
    }
}
