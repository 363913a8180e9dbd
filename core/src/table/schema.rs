//! Comparison of schemas.

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};

/// Whether `found` holds the same columns as `expected`: names and types, metadata and nullability aside.
///
/// Published shards declare every column nullable, as `datasets` wants it. That a required column holds no null is checked
/// where its values are read ([`Cell::read`](super::Cell::read)).
pub fn same_columns(expected: &Schema, found: &Schema) -> bool {
    same_fields(expected.fields(), found.fields())
}

fn same_fields(expected: &Fields, found: &Fields) -> bool {
    let same = |(a, b): (&FieldRef, &FieldRef)| {
        a.name() == b.name() && same_type(a.data_type(), b.data_type())
    };
    expected.len() == found.len() && expected.iter().zip(found).all(same)
}

/// Equality of types up to the names of list items, which writers choose freely.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) => same_type(x.data_type(), y.data_type()),
        (DataType::FixedSizeList(x, n), DataType::FixedSizeList(y, m)) => {
            n == m && same_type(x.data_type(), y.data_type())
        }
        (DataType::Struct(x), DataType::Struct(y)) => same_fields(x, y),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    fn schema(item: &str, width: i32) -> Schema {
        let item = Arc::new(Field::new(item, DataType::Float32, false));
        Schema::new(vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("face", DataType::FixedSizeList(item, width), false),
        ])
    }

    #[test]
    fn list_items_may_have_any_name_but_not_any_number() {
        assert!(same_columns(&schema("item", 4), &schema("element", 4)));
        assert!(!same_columns(&schema("item", 4), &schema("item", 5)));
    }
}
