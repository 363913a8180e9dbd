//! Types and defaults in the words of a manifest.

use quote::ToTokens;
use syn::{BinOp, Expr, GenericArgument, Lit, PathArguments, Type, UnOp};

use super::source::{Default, Field, Source};

/// What a manifest writes for a type.
pub(super) fn kind(kind: &Type, krate: &str, source: &Source) -> String {
    match kind {
        Type::Array(array) => format!(
            "{} of: {}",
            plain(&array.len),
            self::kind(&array.elem, krate, source)
        ),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return code(kind);
            };
            let name = last.ident.to_string();
            let inner = |i: usize| {
                argument(&last.arguments, i)
                    .map(|t| self::kind(t, krate, source))
                    .unwrap_or_default()
            };
            match name.as_str() {
                "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "NonZeroUsize"
                | "NonZeroU32" => "integer".to_owned(),
                "f32" | "f64" => "number".to_owned(),
                "bool" => "`true` or `false`".to_owned(),
                "String" => "text".to_owned(),
                "PathBuf" => "path".to_owned(),
                "Option" | "Box" => inner(0),
                "Vec" => format!("list of: {}", inner(0)),
                "BTreeMap" => format!("table of: {}", inner(1)),
                _ => named(&name, krate, source).unwrap_or_else(|| code(kind)),
            }
        }
        _ => code(kind),
    }
}

fn named(name: &str, krate: &str, source: &Source) -> Option<String> {
    let choice = source.choice(krate, name).filter(|c| c.derived);
    if let Some(choice) = choice.filter(|c| !c.either.is_empty()) {
        let forms = choice.either.iter().map(|t| kind(t, krate, source));
        return Some(forms.collect::<Vec<_>>().join(", or "));
    }
    if let Some(choice) = choice {
        let words = choice.words.iter().map(|w| format!("`\"{}\"`", w.word));
        return Some(words.collect::<Vec<_>>().join(", "));
    }
    if source.fields(krate, name).is_some() {
        return Some("table".to_owned());
    }
    source
        .docs(krate, name)
        .filter(|d| !d.is_empty())
        .map(super::cell)
}

/// The keys of a type that is a table of its own.
pub(super) fn table<'a>(kind: &Type, krate: &str, source: &'a Source) -> Option<&'a [Field]> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last()?;
    match last.ident.to_string().as_str() {
        "Option" | "Box" => table(argument(&last.arguments, 0)?, krate, source),
        name => source.fields(krate, name),
    }
}

fn argument(arguments: &PathArguments, index: usize) -> Option<&Type> {
    let PathArguments::AngleBracketed(list) = arguments else {
        return None;
    };
    list.args
        .iter()
        .filter_map(|a| {
            if let GenericArgument::Type(t) = a {
                Some(t)
            } else {
                None
            }
        })
        .nth(index)
}

/// A default as a manifest would write it.
pub(super) fn default(default: &Default, kind: &Type, krate: &str, source: &Source) -> String {
    let text = match default {
        Default::OfType => of_type(kind, krate, source),
        Default::Code(expression) => value(expression, krate, source),
    };
    match text {
        Some(text) if text.is_empty() => "none".to_owned(),
        Some(text) => format!("`{}`", super::cell(&text)),
        None => match default {
            Default::OfType => "its keys' defaults".to_owned(),
            Default::Code(expression) => format!("`{}`", super::cell(&plain(expression))),
        },
    }
}

/// The default of a type; the empty text where it is nothing.
fn of_type(kind: &Type, krate: &str, source: &Source) -> Option<String> {
    let Type::Path(path) = kind else { return None };
    Some(
        match path.path.segments.last()?.ident.to_string().as_str() {
            "bool" => "false".to_owned(),
            "Option" => String::new(),
            "Vec" => "[]".to_owned(),
            "BTreeMap" => "{}".to_owned(),
            "String" => "\"\"".to_owned(),
            "f32" | "f64" => "0.0".to_owned(),
            "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "0".to_owned(),
            name => {
                let choice = source.choice(krate, name)?;
                format!("\"{}\"", choice.words.iter().find(|w| w.is_default)?.word)
            }
        },
    )
}

/// What an expression is worth, where that can be said from its text; the empty text for nothing.
fn value(expression: &Expr, krate: &str, source: &Source) -> Option<String> {
    let again = |e: &Expr| value(e, krate, source);
    match expression {
        Expr::Lit(literal) => Some(match &literal.lit {
            Lit::Str(text) => format!("\"{}\"", text.value().replace('"', "\\\"")),
            Lit::Int(number) => number.base10_digits().to_owned(),
            Lit::Float(number) => number.base10_digits().to_owned(),
            Lit::Bool(word) => word.value.to_string(),
            _ => return None,
        }),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            Some(format!("-{}", again(&unary.expr)?))
        }
        Expr::Binary(binary) => {
            let number = |e: &Expr| again(e)?.parse::<u64>().ok();
            let (left, right) = (number(&binary.left)?, number(&binary.right)?);
            let result = match binary.op {
                BinOp::Shl(_) => left.checked_shl(u32::try_from(right).ok()?)?,
                BinOp::Mul(_) => left.checked_mul(right)?,
                _ => return None,
            };
            Some(result.to_string())
        }
        Expr::MethodCall(call)
            if ["to_owned", "into", "to_string"]
                .iter()
                .any(|m| call.method == m) =>
        {
            again(&call.receiver)
        }
        Expr::Array(array) => {
            let values: Option<Vec<String>> = array.elems.iter().map(again).collect();
            Some(format!("[{}]", values?.join(", ")))
        }
        Expr::Macro(text) if text.mac.path.is_ident("concat") => {
            let version =
                plain(&text.mac.tokens).replace("env!(\"CARGO_PKG_VERSION\")", "\"VERSION\"");
            let array: syn::ExprArray = syn::parse_str(&format!("[{version}]")).ok()?;
            let texts: Option<Vec<String>> = array.elems.iter().map(again).collect();
            Some(format!(
                "\"{}\"",
                texts?
                    .iter()
                    .map(|t| t.trim_matches('"'))
                    .collect::<String>()
            ))
        }
        Expr::Macro(list) if list.mac.path.is_ident("vec") => {
            let array: syn::ExprArray = syn::parse_str(&format!("[{}]", list.mac.tokens)).ok()?;
            again(&Expr::Array(array))
        }
        Expr::Call(call) => {
            let function = plain(&*call.func);
            match function.as_str() {
                "Vec::new" => Some("[]".to_owned()),
                "String::new" => Some("\"\"".to_owned()),
                function if function.ends_with("::default") => None,
                _ => again(call.args.first()?),
            }
        }
        Expr::Path(path) => {
            let segments: Vec<String> = path
                .path
                .segments
                .iter()
                .map(|s| s.ident.to_string())
                .collect();
            match &segments[..] {
                [none] if none == "None" => Some(String::new()),
                [constant] => again(source.constant(krate, constant)?),
                [.., kind, variant] => match source.choice(krate, kind) {
                    Some(choice) => {
                        let word = choice.words.iter().find(|w| w.variant == *variant)?;
                        Some(format!("\"{}\"", word.word))
                    }
                    None => again(source.constant(krate, variant)?),
                },
                [] => None,
            }
        }
        _ => None,
    }
}

/// Code without the spaces between its tokens; those inside texts stay.
fn plain(code: &impl ToTokens) -> String {
    code.to_token_stream()
        .into_iter()
        .map(|token| match token {
            proc_macro2::TokenTree::Group(group)
                if group.delimiter() == proc_macro2::Delimiter::Parenthesis =>
            {
                format!("({})", plain(&group.stream()))
            }
            token => token.to_string(),
        })
        .collect()
}

fn code(code: &impl ToTokens) -> String {
    code.to_token_stream().to_string()
}
