//! The order of numbers in a Parquet file's footer.
//!
//! `parquet` 60 declares columns of floats as ordered by IEEE 754's total order, which pyarrow does
//! not know yet: it takes no notice of their minima and maxima, so that a filter on `similarity`
//! reads every row group. Without NaN and with zeros of one sign both orders are one, and the older
//! word, "as the type defines", is what every reader knows. The two words are of equal length, and
//! the list of them is the last field of the footer.

/// In Thrift's compact form: the field that says the order, an empty struct, the end of the union.
const TYPE_DEFINED: [u8; 3] = [0x1c, 0, 0];
const TOTAL: [u8; 3] = [0x2c, 0, 0];
/// The footer's length and the file's last four letters.
const END: usize = 8;
/// How many columns fit into the short form of a list's head.
const SHORT_LIST: usize = 14;

/// The bytes at the end of a file of so many columns that hold the list.
pub(crate) fn tail(columns: usize) -> u64 {
    (head(columns).len() + TOTAL.len() * columns + 1 + END) as u64
}

/// The head of a list of so many structs.
fn head(columns: usize) -> Vec<u8> {
    if columns <= SHORT_LIST {
        return vec![((columns as u8) << 4) | 0x0c];
    }
    let (mut head, mut rest) = (vec![0xfc], columns);
    while rest > 0x7f {
        head.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    head.push(rest as u8);
    head
}

/// Says "as the type defines" in the footer at the end of `bytes`, of a file of `columns` columns.
///
/// # Errors
/// A footer that does not end with that list.
pub(crate) fn make_type_defined(bytes: &mut [u8], columns: usize) -> Result<(), String> {
    let wrong = || format!("the footer does not end with the order of {columns} columns");
    let list = bytes.len().checked_sub(END + 1 + TOTAL.len() * columns);
    let list = list.ok_or_else(wrong)?;
    let head = head(columns);
    if !bytes[..list].ends_with(&head) || bytes[bytes.len() - END - 1] != 0 {
        return Err(wrong());
    }
    let end = bytes.len() - END - 1;
    let (orders, _) = bytes[list..end].as_chunks_mut::<3>();
    if orders.iter().any(|o| *o != TYPE_DEFINED && *o != TOTAL) {
        return Err(wrong());
    }
    orders.fill(TYPE_DEFINED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(columns: usize) -> Vec<u8> {
        let mut bytes = vec![0x15, 4, 0x19];
        bytes.extend(head(columns));
        for column in 0..columns {
            bytes.extend(if column % 2 == 0 { TOTAL } else { TYPE_DEFINED });
        }
        bytes.extend([0, 9, 0, 0, 0]);
        bytes.extend(b"PAR1");
        bytes
    }

    #[test]
    fn every_column_is_ordered_as_its_type_defines() {
        for columns in [1, 14, 15, 200] {
            let mut bytes = footer(columns);
            make_type_defined(&mut bytes, columns).expect("a footer");
            assert!(!bytes.windows(3).any(|three| three == TOTAL));
            let tail = usize::try_from(tail(columns)).expect("small");
            let mut end = footer(columns).split_off(3);
            assert_eq!(end.len(), tail);
            make_type_defined(&mut end, columns).expect("the footer's end");
            assert_eq!(end, bytes[3..]);
        }
    }

    #[test]
    fn another_footer_is_refused() {
        for (columns, wrong) in [(3, footer(4)), (4, vec![0; 90]), (4, Vec::new())] {
            let mut bytes = wrong.clone();
            assert!(make_type_defined(&mut bytes, columns).is_err());
            assert_eq!(bytes, wrong);
        }
    }
}
