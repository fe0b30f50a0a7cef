//! RELOAD: the configuration file is read again.

use crate::console;
use crate::sidecar::{Sidecar, said, shared};

#[tokio::test]
async fn reload_reads_the_file_again() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    let launch = Sidecar::on(&azure)
        .database(&database)
        .key("name", "main")
        .pool(2);
    let text = launch.toml();
    let proxy = launch.config(&file).start().await;
    let console = console(&proxy).await;
    let size =
        async || crate::number(&console, "SHOW DATABASES", ("name", "main"), "pool_size").await;
    assert_eq!(size().await, 2);
    std::fs::write(&file, text.replace("pool_size = 2", "pool_size = 7")).unwrap();
    // Who is held back is so by the new route, too.
    console.batch_execute("PAUSE; RELOAD").await.unwrap();
    assert_eq!(size().await, 7);
    let waiting = tokio::spawn(crate::select_one(proxy.config()));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    console.batch_execute("RESUME").await.unwrap();
    waiting.await.unwrap();
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    let refused = said(console.batch_execute("RELOAD").await);
    assert_eq!(refused.code().code(), "F0000");
    assert!(refused.message().contains("nonsense"), "{refused:?}");
    assert_eq!(size().await, 7);
}
