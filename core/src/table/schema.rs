//! Comparison of schemas.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

/// Whether `found` holds the same columns as `expected` (names, types and nullability; metadata aside).
pub fn same_columns(expected: &Schema, found: &Schema) -> bool {
    let same = |(a, b): (&Arc<Field>, &Arc<Field>)| {
        a.name() == b.name() && same_type(a.data_type(), b.data_type())
    };
    expected.fields().len() == found.fields().len()
        && expected.fields().iter().zip(found.fields()).all(same)
}

/// Equality of types up to the names of list items, which writers choose freely.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) => same_type(x.data_type(), y.data_type()),
        (DataType::FixedSizeList(x, n), DataType::FixedSizeList(y, m)) => {
            n == m && same_type(x.data_type(), y.data_type())
        }
        (DataType::Struct(x), DataType::Struct(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|(f, g)| f.name() == g.name() && same_type(f.data_type(), g.data_type()))
        }
        _ => a == b,
    }
}

/// A schema as one readable line: `name: Type, …`.
pub fn describe(schema: &Schema) -> String {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| format!("{}: {}", f.name(), f.data_type()))
        .collect();
    columns.join(", ")
}
