//! Everything in here holds whether the system allows io_uring or not.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test as the program runs, in a thread of its own.
fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            // Not everywhere.
            let _ = begin();
            tokio::time::timeout(PATIENCE, test()).await.unwrap();
        });
    });
    thread.join().unwrap();
}

async fn tcp() -> (Batched<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap());
    let (peer, own) = tokio::join!(peer, listener.accept());
    (Batched::new(own.unwrap().0), peer.unwrap())
}

async fn write(socket: &mut Batched<impl Stream>, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let sent = poll_fn(|cx| socket.poll_write(cx, left)).await?;
        left = &left[sent..];
    }
    Ok(())
}

async fn read(peer: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    peer.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn what_many_write_reaches_each() {
    run(|| async {
        let mut pairs = Vec::new();
        for _ in 0..2 * usize::from(MOST) + 3 {
            pairs.push(tcp().await);
        }
        for round in 0..3 {
            for (index, (socket, _)) in pairs.iter_mut().enumerate() {
                write(socket, format!("{index}:").as_bytes()).await.unwrap();
                write(socket, format!("{round};").as_bytes()).await.unwrap();
            }
            for (index, (_, peer)) in pairs.iter_mut().enumerate() {
                let expected = format!("{index}:{round};");
                assert_eq!(read(peer, expected.len()).await, expected.as_bytes());
            }
        }
    });
}

#[test]
fn nothing_leaves_before_it_has_to() {
    run(|| async {
        let (mut socket, peer) = tcp().await;
        write(&mut socket, b"early").await.unwrap();
        let gathers = BATCH.with_borrow(Option::is_some);
        let sent = peer.try_read(&mut [0; 1]).is_ok();
        assert!(!(gathers && sent));
        // What waits for it, gets it.
        poll_fn(|cx| socket.poll_clear(cx)).await.unwrap();
        peer.readable().await.unwrap();
    });
}

#[test]
fn short_and_long_writes_keep_their_order() {
    run(|| async {
        let (mut socket, mut peer) = tcp().await;
        let whole = pattern(3_000_000);
        let expected = whole.clone();
        let writing = async move {
            let mut rest = whole.as_slice();
            let sizes = [1, 700, LONGEST, LONGEST + 1, 3 * LONGEST, 5, 64_000];
            for size in sizes.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*size));
                write(&mut socket, now).await.unwrap();
                let slices = [
                    IoSlice::new(&[]),
                    IoSlice::new(&later[..later.len().min(9)]),
                ];
                let sent = poll_fn(|cx| socket.poll_write_vectored(cx, &slices)).await;
                rest = &later[sent.unwrap()..];
                if rest.is_empty() {
                    return socket;
                }
            }
            socket
        };
        // The reader is slow: the socket is full again and again.
        let reading = async {
            let mut got = Vec::new();
            while got.len() < expected.len() {
                let mut some = vec![0; 40_000];
                let count = peer.read(&mut some).await.unwrap();
                got.extend_from_slice(&some[..count]);
                if got.len() % 7 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            got
        };
        let (_socket, got) = tokio::join!(writing, reading);
        assert!(got == expected);
    });
}

#[test]
fn who_is_always_busy_does_not_keep_others_waiting() {
    run(|| async {
        let (mut socket, mut peer) = tcp().await;
        let busy = tokio::spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        for _ in 0..100 {
            write(&mut socket, b"answer").await.unwrap();
            assert_eq!(read(&mut peer, 6).await, b"answer");
        }
        busy.abort();
    });
}

/// Writes until the socket takes no more; returns how much that was.
async fn fill(socket: &mut Batched<impl Stream>) -> usize {
    let some = pattern(LONGEST);
    let mut written = 0;
    while tokio::time::timeout(Duration::from_millis(50), write(socket, &some))
        .await
        .is_ok()
    {
        written += some.len();
    }
    written
}

#[test]
fn a_socket_that_takes_nothing_holds_its_writer_back_and_no_other() {
    run(|| async {
        let (mut full, mut slow) = tcp().await;
        let (mut other, mut peer) = tcp().await;
        let written = fill(&mut full).await;
        assert!(written > 0);
        write(&mut other, b"passes").await.unwrap();
        assert_eq!(read(&mut peer, 6).await, b"passes");
        // All that was taken comes, and then there is room again.
        let got = read(&mut slow, written).await;
        assert!(got.chunks(LONGEST).all(|chunk| chunk == pattern(LONGEST)));
        poll_fn(|cx| full.poll_clear(cx)).await.unwrap();
        write(&mut full, b"after").await.unwrap();
        drop(full);
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"after"));
    });
}

#[test]
fn whoever_leaves_has_sent_everything() {
    run(|| async {
        let (mut socket, mut peer) = tcp().await;
        write(&mut socket, b"last words").await.unwrap();
        drop(socket);
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"last words");
        // Also where the peer is slow, and somebody else has the descriptor's number by then.
        let (mut socket, mut peer) = tcp().await;
        let written = fill(&mut socket).await;
        drop(socket);
        let (mut next, mut other) = tcp().await;
        write(&mut next, b"another").await.unwrap();
        assert_eq!(read(&mut other, 7).await, b"another");
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        assert!(said.len() >= written, "{} of {written}", said.len());
        write(&mut next, b"still").await.unwrap();
        assert_eq!(read(&mut other, 5).await, b"still");
    });
}

#[test]
fn a_secret_leaves_no_copy() {
    run(|| async {
        let copies = || {
            BATCH.with_borrow(|batch| {
                let jobs = batch.iter().flat_map(|batch| &batch.jobs);
                jobs.filter(|job| job.bytes == b"hush").count()
            })
        };
        let gathers = BATCH.with_borrow(Option::is_some);
        let (mut socket, mut peer) = tcp().await;
        write(&mut socket, b"hush").await.unwrap();
        poll_fn(|cx| socket.poll_clear(cx)).await.unwrap();
        assert_eq!(copies(), usize::from(gathers));
        poll_fn(|cx| socket.poll_wipe(cx)).await.unwrap();
        assert_eq!(copies(), 0);
        assert_eq!(read(&mut peer, 4).await, b"hush");
    });
}

#[test]
fn nobody_is_sent_to_for_ever() {
    run(|| async {
        let gathers = BATCH.with_borrow(Option::is_some);
        let (mut socket, mut peer) = tcp().await;
        let written = fill(&mut socket).await;
        drop(socket);
        tokio::time::pause();
        tokio::time::sleep(2 * LINGER).await;
        // What the kernel has taken comes, and then it is over.
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        assert_eq!(said.len() < written, gathers, "{} of {written}", said.len());
    });
}

#[test]
fn a_peer_that_has_gone_is_an_error_for_its_writer_alone() {
    run(|| async {
        let (mut socket, peer) = tcp().await;
        let (mut other, mut there) = tcp().await;
        drop(peer);
        let mut failed = None;
        for _ in 0..100 {
            write(&mut other, b"x").await.unwrap();
            if let Err(error) = write(&mut socket, b"x").await {
                failed = Some(error);
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let failed = failed.expect("an error in the end").kind();
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(gone.contains(&failed), "{failed}");
        assert!(write(&mut socket, b"x").await.is_err(), "it stays so");
        assert_eq!(read(&mut there, 1).await, b"x");
    });
}

#[test]
fn sockets_of_both_families_shut_down_behind_what_was_written() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let peer = UnixStream::connect(&path);
        let (peer, own) = tokio::join!(peer, listener.accept());
        let (mut peer, mut own) = (peer.unwrap(), Batched::new(own.unwrap().0));
        let written = fill(&mut own).await;
        let (_, got) = tokio::join!(poll_fn(|cx| own.poll_shutdown(cx)), async {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            got.len()
        });
        assert!(got >= written);
        let (mut own, mut peer) = tcp().await;
        write(&mut own, b"bye").await.unwrap();
        poll_fn(|cx| own.poll_shutdown(cx)).await.unwrap();
        assert_eq!(read(&mut peer, 3).await, b"bye");
        assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
        let inner = own.into_inner();
        assert!(inner.peer_addr().is_ok());
    });
}

/// Without this, everything in here would also hold if sends were never gathered.
#[cfg(feature = "io-uring")]
#[test]
fn sends_are_gathered_wherever_the_system_allows_it() {
    run(|| async {
        let gathers = BATCH.with_borrow(Option::is_some);
        let is_allowed = io_uring::IoUring::new(2).is_ok();
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy().into_owned();
        let major = release
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        let is_new = major.is_some_and(|major: u32| major >= 6);
        assert_eq!(gathers, is_allowed && is_new, "Linux {release}");
    });
}

#[test]
fn without_its_ring_it_goes_on_with_what_is_not_lost() {
    run(|| async {
        let ((mut lost, _peer), (mut other, mut there)) = (tcp().await, tcp().await);
        let broken = ring::Broken {
            error: io::ErrorKind::Other.into(),
            sockets: vec![lost.place.fd],
        };
        let gathers = BATCH
            .with_borrow_mut(|batch| batch.as_mut().map(|batch| batch.give_up(&broken)).is_some());
        assert_eq!(write(&mut lost, b"x").await.is_err(), gathers);
        write(&mut other, b"direct").await.unwrap();
        assert_eq!(read(&mut there, 6).await, b"direct");
    });
}
