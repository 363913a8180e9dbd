//! How many photos a second `--max-side` takes, one thread: resize-speed SIDE PASSES FILE…

use std::io::{self, Write};
use std::time::Instant;

use laioncele_image::{Limits, check, resize_to};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let side = args.next().and_then(|s| s.parse().ok()).unwrap_or(256);
    let passes = args.next().and_then(|s| s.parse().ok()).unwrap_or(1);
    let files: Vec<Vec<u8>> = args.filter_map(|path| std::fs::read(path).ok()).collect();
    let limits = Limits::default();
    let count = (passes * files.len()) as f64;
    let timed = |what: &str, work: &dyn Fn(&[u8]) -> usize| {
        let start = Instant::now();
        let sum: usize = (0..passes)
            .flat_map(|_| &files)
            .map(|file| work(file))
            .sum();
        let each = start.elapsed().as_secs_f64() / count * 1e3;
        writeln!(io::stdout(), "{what}: {each:.3} ms a photo, {sum}")
    };
    timed("proof", &|file| usize::from(check(file, &limits).is_ok()))?;
    timed("resize", &|file| {
        let found = resize_to(file, &limits, side, 95).ok().flatten();
        found.map_or(0, |found| found.bytes.len())
    })
}
