//! What a text with expressions says, without running it: its names with their places, and the type it can have.

use std::ops::Range;
use std::sync::LazyLock;

use deputy_declaration::nearest;
use minijinja::machinery::ast::{BinOpKind, CallArg, CallType, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{Span, Token, parse, parse_expr, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::filters::{self, FUNCTIONS, TESTS};

/// Words, marks and numbers between one pair of braces. The engine walks an expression recursively: this bounds its
/// stack.
const MAX_TOKENS: usize = 1_000;
/// A text with expressions in it.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// What is wrong in a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// No expression in it.
    Constant,
    /// Exactly one `{{ … }}`, or a bare expression; the place of what is inside. It keeps its type.
    Whole(Range<usize>),
    /// A text is made of it.
    Mixed,
}

/// The type of a value as far as the text alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    Any,
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Object,
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub name: String,
    pub at: Range<usize>,
}

/// A name and what is looked up in it, as far as that is written out: `steps.issue.output.id`.
pub type Path = Vec<Word>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    pub shape: Shape,
    pub gives: Gives,
    /// In the order of the text, without names that the text itself makes.
    pub paths: Vec<Path>,
    pub faults: Vec<Fault>,
}

pub fn config() -> SyntaxConfig {
    // A message keeps its last line's end.
    static CONFIG: LazyLock<SyntaxConfig> = LazyLock::new(|| {
        let built = SyntaxConfig::builder().keep_trailing_newline(true).build();
        built.unwrap_or_default()
    });
    CONFIG.clone()
}

pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// A text that may hold expressions.
pub fn template(text: &str) -> Result<Analysis, Fault> {
    if !is_template(text) {
        return Ok(Analysis { shape: Shape::Constant, gives: Gives::Text, paths: Vec::new(), faults: Vec::new() });
    }
    bounded(text, false)?;
    let parsed = parse(text, "text", config()).map_err(|error| fault(&error, text, 0))?;
    let mut walker = Walker::default();
    let gives = match (&parsed, whole(text)) {
        (Stmt::Template(template), Some(inside)) if let Some(expr) = only_expression(&template.children) => {
            let gives = walker.expr(expr);
            return Ok(walker.done(Shape::Whole(inside), gives));
        }
        (statement, _) => {
            walker.statement(statement);
            Gives::Text
        }
    };
    Ok(walker.done(Shape::Mixed, gives))
}

/// One expression, with or without braces.
pub fn expression(text: &str) -> Result<Analysis, Fault> {
    if text.trim_start().starts_with("{{") {
        let analysis = template(text)?;
        return match analysis.shape {
            Shape::Whole(_) => Ok(analysis),
            _ => Err(Fault {
                at: 0..text.len(),
                message: "this is a text, not one expression".to_owned(),
                help: Some("one `{{ … }}` and nothing around it, or no braces at all".to_owned()),
            }),
        };
    }
    bounded(text, true)?;
    if text.trim().is_empty() {
        return Err(Fault { at: 0..text.len(), message: "the expression is empty".to_owned(), help: None });
    }
    let parsed = parse_expr(text).map_err(|error| fault(&error, text, 0))?;
    let mut walker = Walker::default();
    let gives = walker.expr(&parsed);
    Ok(walker.done(Shape::Whole(0..text.len()), gives))
}

/// The engine's own sentence, at its place.
pub fn fault(error: &minijinja::Error, text: &str, offset: usize) -> Fault {
    let end = text.len();
    let at = error.range().map_or(0..end, |range| (range.start + offset).min(end)..(range.end + offset).min(end));
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    Fault { at, message, help: None }
}

fn bounded(text: &str, in_expression: bool) -> Result<(), Fault> {
    let too_long = |at: Range<usize>, message: String| {
        Err(Fault { at, message, help: Some("do this work in a script".to_owned()) })
    };
    if text.len() > MAX_TEXT_BYTES {
        let message =
            format!("a text with expressions has at most {MAX_TEXT_BYTES} bytes, and this has {}", text.len());
        return too_long(0..text.len(), message);
    }
    let mut tokens = 0;
    for token in tokenize(text, in_expression, config()) {
        // What is no token is told by the parser.
        let Ok((token, span)) = token else { return Ok(()) };
        match token {
            Token::VariableStart | Token::BlockStart => tokens = 0,
            _ => tokens += 1,
        }
        if tokens > MAX_TOKENS {
            return too_long(range(span), format!("the expression has more than {MAX_TOKENS} words"));
        }
    }
    Ok(())
}

/// What stands between the braces, where the text begins and ends with them.
fn whole(text: &str) -> Option<Range<usize>> {
    let start = text.len() - text.trim_start().len();
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let left = usize::from(inner.starts_with(['-', '+']));
    let inner = &inner[left..];
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    Some(start + 2 + left..start + 2 + left + inner.len())
}

fn only_expression<'t, 'a>(statements: &'t [Stmt<'a>]) -> Option<&'t Expr<'a>> {
    let mut rest = statements.iter().filter(|statement| match statement {
        Stmt::EmitRaw(raw) => !raw.raw.trim().is_empty(),
        _ => true,
    });
    match (rest.next(), rest.next()) {
        (Some(Stmt::EmitExpr(emit)), None) => Some(&emit.expr),
        _ => None,
    }
}

fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

#[derive(Default)]
struct Walker {
    /// Names that loops and `set` make.
    locals: Vec<String>,
    paths: Vec<Path>,
    faults: Vec<Fault>,
}

impl Walker {
    fn done(self, shape: Shape, gives: Gives) -> Analysis {
        Analysis { shape, gives, paths: self.paths, faults: self.faults }
    }

    fn fault(&mut self, at: Range<usize>, message: String, help: Option<String>) {
        self.faults.push(Fault { at, message, help });
    }

    fn body(&mut self, statements: &[Stmt<'_>]) {
        let outside = self.locals.len();
        statements.iter().for_each(|statement| self.statement(statement));
        self.locals.truncate(outside);
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            // What the top sets is known to all that follows.
            Stmt::Template(template) => template.children.iter().for_each(|child| self.statement(child)),
            Stmt::EmitExpr(emit) => {
                self.expr(&emit.expr);
            }
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(each) => {
                self.expr(&each.iter);
                let outside = self.locals.len();
                self.target(&each.target);
                self.locals.push("loop".to_owned());
                each.filter_expr.iter().for_each(|filter| {
                    self.expr(filter);
                });
                self.body(&each.body);
                self.locals.truncate(outside);
                self.body(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                self.expr(&condition.expr);
                // What a branch sets stays set behind it.
                condition.true_body.iter().for_each(|child| self.statement(child));
                condition.false_body.iter().for_each(|child| self.statement(child));
            }
            Stmt::WithBlock(with) => {
                let outside = self.locals.len();
                for (target, value) in &with.assignments {
                    self.expr(value);
                    self.target(target);
                }
                self.body(&with.body);
                self.locals.truncate(outside);
            }
            Stmt::Set(set) => {
                self.expr(&set.expr);
                self.target(&set.target);
            }
            Stmt::SetBlock(set) => {
                set.filter.iter().for_each(|filter| {
                    self.expr(filter);
                });
                self.body(&set.body);
                self.target(&set.target);
            }
            Stmt::FilterBlock(block) => {
                self.expr(&block.filter);
                self.body(&block.body);
            }
            Stmt::Block(block) => self.refused("block", range(block.span())),
            Stmt::Import(import) => self.refused("import", range(import.span())),
            Stmt::FromImport(import) => self.refused("from", range(import.span())),
            Stmt::Extends(extends) => self.refused("extends", range(extends.span())),
            Stmt::Include(include) => self.refused("include", range(include.span())),
            Stmt::AutoEscape(escape) => self.refused("autoescape", range(escape.span())),
            Stmt::Do(call) => self.refused("do", range(call.span())),
        }
    }

    fn refused(&mut self, word: &str, at: Range<usize>) {
        self.fault(at, format!("`{word}` does not exist here"), Some("`for`, `if`, `set` and `with` do".to_owned()));
    }

    fn target(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(var) => self.locals.push(var.id.to_owned()),
            Expr::List(list) => list.items.iter().for_each(|item| self.target(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.target(item)),
            other => {
                self.expr(other);
            }
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => {
                    self.expr(value);
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr<'_>) -> Gives {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.lookup(expr),
            Expr::Const(constant) => match constant.value.kind() {
                ValueKind::None => Gives::Null,
                ValueKind::Bool => Gives::Boolean,
                ValueKind::Number if constant.value.is_integer() => Gives::Integer,
                ValueKind::Number => Gives::Number,
                ValueKind::String => Gives::Text,
                ValueKind::Seq => Gives::List,
                ValueKind::Map => Gives::Object,
                _ => Gives::Any,
            },
            Expr::Slice(slice) => {
                let gives = self.expr(&slice.expr);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expr(bound);
                }
                gives
            }
            Expr::UnaryOp(unary) => {
                let gives = self.expr(&unary.expr);
                match unary.op {
                    UnaryOpKind::Not => Gives::Boolean,
                    UnaryOpKind::Neg => gives,
                }
            }
            Expr::BinOp(binary) => {
                let (left, right) = (self.expr(&binary.left), self.expr(&binary.right));
                match binary.op {
                    BinOpKind::Eq
                    | BinOpKind::Ne
                    | BinOpKind::Lt
                    | BinOpKind::Lte
                    | BinOpKind::Gt
                    | BinOpKind::Gte
                    | BinOpKind::In => Gives::Boolean,
                    BinOpKind::Concat => Gives::Text,
                    BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem | BinOpKind::Pow => {
                        Gives::Number
                    }
                    BinOpKind::Add | BinOpKind::Mul | BinOpKind::ScAnd | BinOpKind::ScOr if left == right => left,
                    BinOpKind::Add | BinOpKind::Mul | BinOpKind::ScAnd | BinOpKind::ScOr => Gives::Any,
                }
            }
            Expr::Compare(compare) => {
                self.expr(&compare.expr);
                compare.ops.iter().for_each(|op| {
                    self.expr(&op.expr);
                });
                Gives::Boolean
            }
            Expr::IfExpr(condition) => {
                self.expr(&condition.test_expr);
                let gives = self.expr(&condition.true_expr);
                match condition.false_expr.as_ref().map(|other| self.expr(other)) {
                    Some(other) if other == gives => gives,
                    _ => Gives::Any,
                }
            }
            Expr::Filter(filter) => {
                let given = filter.expr.as_ref().map(|value| self.expr(value)).unwrap_or(Gives::Any);
                self.arguments(&filter.args);
                let all = filters::names();
                if !all.contains(&filter.name) {
                    self.unknown("filter", filter.name, range(filter.span()), all);
                }
                filters::gives(filter.name, given)
            }
            Expr::Test(test) => {
                self.expr(&test.expr);
                self.arguments(&test.args);
                if !TESTS.contains(&test.name) {
                    self.unknown("test", test.name, range(test.span()), TESTS.to_vec());
                }
                Gives::Boolean
            }
            Expr::Call(call) => {
                self.arguments(&call.args);
                match call.identify_call() {
                    CallType::Function(name) if FUNCTIONS.contains(&name) => {}
                    CallType::Function(name) => {
                        self.unknown("function", name, range(call.expr.span()), FUNCTIONS.to_vec());
                    }
                    CallType::Method(Expr::Var(var), _) if var.id == "loop" && self.is_local("loop") => {}
                    CallType::Method(value, name) => {
                        self.expr(value);
                        let help = match filters::names().contains(&name) {
                            true => format!("write `| {name}`"),
                            false => "values have no methods: use a filter, such as `| length`".to_owned(),
                        };
                        self.fault(
                            last_word(name, call.expr.span()),
                            format!("there is no method `{name}`"),
                            Some(help),
                        );
                    }
                    CallType::Block(_) | CallType::Object(_) => {
                        self.fault(range(call.span()), "this cannot be called".to_owned(), None);
                    }
                }
                Gives::Any
            }
            Expr::List(list) => {
                list.items.iter().for_each(|item| {
                    self.expr(item);
                });
                Gives::List
            }
            Expr::Tuple(tuple) => {
                tuple.items.iter().for_each(|item| {
                    self.expr(item);
                });
                Gives::List
            }
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).for_each(|part| {
                    self.expr(part);
                });
                Gives::Object
            }
        }
    }

    fn unknown(&mut self, what: &str, name: &str, at: Range<usize>, known: Vec<&'static str>) {
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        // The span of a filter or test is that of its name's end.
        self.fault(at, format!("there is no {what} `{name}`"), Some(help));
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|local| local == name)
    }

    /// A name and the constant keys behind it; what else stands inside is walked too.
    fn lookup(&mut self, expr: &Expr<'_>) -> Gives {
        let Some(path) = self.path(expr) else { return Gives::Any };
        let gives = if path.1 { path_gives(&path.0) } else { Gives::Any };
        if !path.0.is_empty() {
            self.paths.push(path.0);
        }
        gives
    }

    /// The path, and whether it is all that is looked up. Empty below a local name.
    fn path(&mut self, expr: &Expr<'_>) -> Option<(Path, bool)> {
        match expr {
            Expr::Var(var) if self.is_local(var.id) => Some((Path::new(), false)),
            Expr::Var(var) => Some((vec![Word { name: var.id.to_owned(), at: range(var.span()) }], true)),
            Expr::GetAttr(attr) => {
                let (mut path, whole) = self.path(&attr.expr)?;
                if whole {
                    path.push(Word { name: attr.name.to_owned(), at: last_word(attr.name, attr.span()) });
                }
                Some((path, whole))
            }
            Expr::GetItem(item) => {
                let (mut path, whole) = match self.path(&item.expr) {
                    Some(path) => path,
                    None => {
                        self.expr(&item.subscript_expr);
                        return None;
                    }
                };
                let key = match &item.subscript_expr {
                    Expr::Const(constant) => constant
                        .value
                        .as_str()
                        .map(str::to_owned)
                        .or_else(|| constant.value.as_usize().map(|index| index.to_string())),
                    other => {
                        self.expr(other);
                        None
                    }
                };
                match key {
                    Some(name) if whole => {
                        path.push(Word { name, at: range(item.subscript_expr.span()) });
                        Some((path, true))
                    }
                    _ => Some((path, false)),
                }
            }
            other => {
                self.expr(other);
                None
            }
        }
    }
}

/// The place of a name that ends a node.
fn last_word(name: &str, span: Span) -> Range<usize> {
    let whole = range(span);
    whole.end.saturating_sub(name.len()).max(whole.start)..whole.end
}

fn path_gives(path: &[Word]) -> Gives {
    let names: Vec<&str> = path.iter().map(|word| word.name.as_str()).collect();
    match names[..] {
        ["steps", _, "skipped"] => Gives::Boolean,
        ["steps", _, "exports"] | ["trigger", "headers" | "query"] | ["steps" | "trigger" | "run" | "workflow"] => {
            Gives::Object
        }
        ["steps", _, "error", "message" | "code"] | ["trigger", "kind" | "time"] | ["trigger", "headers", _] => {
            Gives::Text
        }
        ["run", "id" | "started_at"] | ["workflow", "name"] => Gives::Text,
        ["index"] => Gives::Integer,
        _ => Gives::Any,
    }
}
