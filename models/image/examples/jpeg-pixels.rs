//! Pixels of JPEGs for `tools/record-jpeg/record.py --hold`: reads length (u32, little-endian) and file again and again,
//! writes width, height (0 where it is refused) and RGB bytes.

use std::io::{Read, Write};

use laioncele_image::{Limits, Orientation, check, decode};

fn main() -> std::io::Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut file = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut file)?;
        let limits = Limits::default();
        let image = decode(&file, &limits, Orientation::AsStored);
        assert_eq!(check(&file, &limits).is_ok(), image.is_ok(), "proof");
        let image = image.unwrap_or_default();
        output.write_all(&image.width().to_le_bytes())?;
        output.write_all(&image.height().to_le_bytes())?;
        output.write_all(image.as_raw())?;
        output.flush()?;
    }
    Ok(())
}
