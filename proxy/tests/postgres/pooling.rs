//! Few backends for many clients: libpq's own programs in every query mode.

use crate::sidecar::{Sidecar, count, shared};

#[tokio::test]
async fn psql_without_a_password() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let said = proxy
        .program("psql", &["-XAtc", "select current_user, 40 + 2"])
        .await;
    assert_eq!(said, "my-vm|42\n");
    assert_eq!(proxy.stop().await, 0);
    let _ = count;
}
