//! Somebody between entrapool and a server, for what no client can see.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::sidecar::raw::message;

/// Somebody between entrapool and the server, who hears everything of connections without TLS.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    accepting: JoinHandle<()>,
}

/// What went over one connection.
#[derive(Default)]
struct Heard {
    asked: Vec<u8>,
    answered: Vec<u8>,
}

impl Tap {
    /// To this server. If `is_stubborn`, newer versions than 3.0 are refused, as servers before
    /// PostgreSQL 11 and some poolers do.
    pub(crate) async fn to(server: SocketAddr, is_stubborn: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Heard::default());
                    all.len() - 1
                };
                tokio::spawn(relay(
                    client,
                    server,
                    is_stubborn,
                    (Arc::clone(&all), number),
                ));
            }
        });
        Self {
            address,
            heard,
            accepting,
        }
    }

    /// The first bytes of each connection, and its answers.
    pub(crate) fn heard(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let heard = self.heard.lock().unwrap();
        let both = |heard: &Heard| (heard.asked.clone(), heard.answered.clone());
        heard.iter().map(both).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    is_stubborn: bool,
    (all, number): (Arc<Mutex<Vec<Heard>>>, usize),
) {
    let mut first = [0; 8];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    all.lock().unwrap()[number].asked.extend(first);
    if is_stubborn && first[4..] == [0, 3, 0, 2] {
        let fields = b"SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol 3.2\0\0";
        let _gone = client.write_all(&message(b'E', fields)).await;
        return;
    }
    let mut server = TcpStream::connect(server).await.unwrap();
    server.write_all(&first).await.unwrap();
    let (mut up, mut down) = (vec![0; 8192], vec![0; 8192]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                all.lock().unwrap()[number].asked.extend(&up[..length]);
                server.write_all(&up[..length]).await.unwrap();
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                all.lock().unwrap()[number].answered.extend(&down[..length]);
                let _gone = client.write_all(&down[..length]).await;
            }
        }
    }
}
