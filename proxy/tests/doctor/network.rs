//! Faults of TCP. Those that need a network of their own are in `namespace`.

use entrapool_emulator::filtered::FilteredPort;
use tokio::net::TcpListener;

use crate::examination::{azure, both, expect, expect_silence, sql_server};

#[tokio::test]
async fn tcp() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = closed.local_addr().unwrap().to_string();
    drop(closed);
    let port = FilteredPort::open().await.unwrap();
    let filtered = port.address().to_string();
    for launch in both(&azure, &server) {
        let launch = launch.server(&refused);
        let wanted = ("tcp", "tcp-refused", "Check the port in the ROUTE");
        let diagnosis = expect("nothing listens on the server's port", &launch, wanted).await;
        assert_eq!(diagnosis.outcome("tls"), "skipped");
    }
    let hints = ["Let this machine's address through", "11000 to 11999"];
    for (launch, hint) in both(&azure, &server).into_iter().zip(hints) {
        let launch = launch.server(&filtered);
        let wanted = ("tcp", "tcp-filtered", hint);
        expect_silence("a firewall drops what is for the server", &launch, wanted).await;
    }
    // Its queue has to stay full until here.
    drop(port);
}
