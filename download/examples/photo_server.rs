//! A web server for benches: `photo_server FOLDER HOSTS` serves the files of a folder from memory, over HTTP/1.1 with kept
//! connections, at 127.0.0.1 to 127.0.0.HOSTS, each on one port, which it prints. Ends with its standard input.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request's head at most.
const HEAD: usize = 16 << 10;

type Files = HashMap<Vec<u8>, Vec<u8>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(hosts)) = (arguments.next(), arguments.next()) else {
        return Err("photo_server FOLDER HOSTS".into());
    };
    let files = Arc::new(read(&folder)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let port = runtime.block_on(listen(files, hosts.parse()?))?;
    writeln!(std::io::stdout(), "{port}")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.shutdown_background();
    Ok(())
}

/// Whole answers by `/NAME`.
fn read(folder: &str) -> std::io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let bytes = std::fs::read(&path)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        let key = format!("/{}", name.to_string_lossy());
        files.insert(key.into_bytes(), [head.into_bytes(), bytes].concat());
    }
    Ok(files)
}

async fn listen(files: Arc<Files>, hosts: u8) -> std::io::Result<u16> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = first.local_addr()?.port();
    tokio::spawn(accept(first, files.clone()));
    for host in 2..=hosts {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), port)).await?;
        tokio::spawn(accept(listener, files.clone()));
    }
    Ok(port)
}

async fn accept(listener: TcpListener, files: Arc<Files>) {
    while let Ok((stream, _)) = listener.accept().await {
        let files = files.clone();
        tokio::spawn(async move {
            // A client that breaks off is no concern of the server.
            let _ = serve(stream, &files).await;
        });
    }
}

async fn serve(mut stream: TcpStream, files: &Files) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let path = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".as_slice();
        let answer = files.get(path).map_or(missing, Vec::as_slice);
        stream.write_all(answer).await?;
        let lower = head.to_ascii_lowercase();
        if lower.windows(17).any(|w| w == b"connection: close") {
            return Ok(());
        }
        head.clear();
    }
}
