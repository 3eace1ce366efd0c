//! The least that a publisher takes for an MQTT 5 broker: CONNACK, PUBACK, PINGRESP.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Published = Arc<Mutex<Vec<(String, String)>>>;

pub(crate) struct Broker {
    port: u16,
    published: Published,
}

impl Broker {
    /// Listens; the first connection is broken after `breaks_after` publishes, the last of them unacknowledged.
    pub(crate) fn start(breaks_after: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let published = Published::default();
        let kept = Arc::clone(&published);
        drop(std::thread::spawn(move || {
            let mut breaks_after = breaks_after;
            for stream in listener.incoming() {
                // The connection ends as the client or the test has it.
                drop(serve(stream.unwrap(), &kept, breaks_after.take()));
            }
        }));
        Self { port, published }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub(crate) fn published(&self) -> Vec<(String, String)> {
        self.published.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    published: &Published,
    breaks_after: Option<usize>,
) -> io::Result<()> {
    let mut count = 0;
    loop {
        let (first, body) = packet(&mut stream)?;
        match first >> 4 {
            1 => stream.write_all(&[0x20, 3, 0, 0, 0])?,
            3 => {
                let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8(body[2..2 + len].to_vec()).unwrap();
                let id = [body[2 + len], body[3 + len]];
                assert_eq!(body[4 + len], 0, "no properties");
                let payload = String::from_utf8(body[5 + len..].to_vec()).unwrap();
                count += 1;
                if Some(count) == breaks_after {
                    return Ok(());
                }
                published.lock().unwrap().push((topic, payload));
                stream.write_all(&[0x40, 2, id[0], id[1]])?;
            }
            12 => stream.write_all(&[0xd0, 0])?,
            _ => return Ok(()),
        }
    }
}

fn packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first = byte[0];
    let (mut len, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    Ok((first, body))
}
