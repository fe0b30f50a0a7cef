//! Two servers that are alike, one behind entrapool, and the comparison.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use entrapool_emulator::tds::{Profile, TdsServer};

use crate::answers::{Answer, known};
use crate::client::{Client, WHOLE};
use crate::intruder::{BRIEF, CROWDED, Intruder, MOODS, Mood};
use crate::script::Step;
use crate::sidecar::Sidecar;
use crate::tokens::Token;

/// How long the intruder may take: less than any wait of the proxy's.
const LIMIT: Duration = Duration::from_secs(4);
const USER: &str = "sa";
const PASSWORD: &str = "open-sesame";

/// What the scripts find.
const SCENE: &[&str] = &[
    "CREATE TABLE shared (n int)",
    "CREATE TABLE counted (id int IDENTITY(1, 1), n int)",
    "CREATE PROCEDURE quiet @n int AS SELECT @n + 1",
    "CREATE PROCEDURE local_settings AS SET LOCK_TIMEOUT 9000 SET DATEFIRST 5 \
     CREATE TABLE #inside (n int) SELECT @@LOCK_TIMEOUT, @@DATEFIRST",
    "CREATE PROCEDURE marks AS SET CONTEXT_INFO 0x4d41524b",
    "CREATE PROCEDURE keys @v nvarchar(20) AS EXEC sp_set_session_context N'k', @v",
    "CREATE PROCEDURE locks AS EXEC sp_getapplock 'l1', 'Exclusive', 'Session', 0",
    "CREATE PROCEDURE opens AS BEGIN TRANSACTION INSERT INTO shared VALUES (99)",
    "CREATE PROCEDURE closes AS IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION",
    "CREATE PROCEDURE makes AS CREATE TABLE ##made (n int) INSERT INTO ##made VALUES (5)",
    "CREATE PROCEDURE inserts @n int, @id int OUTPUT AS INSERT INTO counted (n) VALUES (@n) \
     SET @id = SCOPE_IDENTITY()",
    "CREATE PROCEDURE fails AS RAISERROR('no', 16, 1) RETURN 5",
];
/// Between scripts.
const AGAIN: &str = "TRUNCATE TABLE shared; DROP TABLE counted; \
     CREATE TABLE counted (id int IDENTITY(1, 1), n int)";

/// How the proxy is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Mode auto, a backend for each client and one for the intruder.
    Auto,
    /// The same with a backend less: the intruder gets one when it can.
    Crowded,
    Session,
    /// Keeps no settings; only for scripts without.
    Transaction,
}

pub(crate) struct Stage {
    plain: TdsServer,
    pooled: TdsServer,
    pub(crate) proxy: Sidecar,
    setting: Setting,
    clients: usize,
    _password: tempfile::TempDir,
}

async fn server(profile: Profile) -> TdsServer {
    let server = TdsServer::builder()
        .database("appdb")
        .database("otherdb")
        .password(USER, PASSWORD)
        .application_role("approle", "secret")
        .profile(profile);
    server.start().await.expect("the server starts")
}

thread_local! {
    /// What was played last: it may have left something.
    static BEFORE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says what was played when a test panics: a client that gets nowhere does.
struct Confession<'a>(&'a [Step], &'a [Mood]);

impl Drop for Confession<'_> {
    fn drop(&mut self) {
        let it = format!("{:#?}\nwith {:?}", self.0, self.1);
        let before = BEFORE.replace(it.clone());
        if std::thread::panicking() {
            eprintln!("it was {it}\nand before it {before}");
        }
    }
}

impl Stage {
    /// For scripts of so many clients.
    pub(crate) async fn set(profile: Profile, setting: Setting, clients: usize) -> Self {
        let (plain, pooled) = (server(profile).await, server(profile).await);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        std::fs::write(&file, PASSWORD).expect("a file");
        let (mode, pool) = match setting {
            Setting::Auto => ("auto", clients + 1),
            Setting::Crowded => ("auto", clients),
            Setting::Session => ("session", clients + 1),
            Setting::Transaction => ("transaction", clients + 1),
        };
        let launch = Sidecar::on_plain_sql_server(&pooled)
            .user(USER)
            .key("password_file", &file.display().to_string())
            .key("pool_mode", mode)
            .pool(pool);
        // What a procedure leaves is told by servers that tell; of others, it has to be assumed.
        let launch = match profile {
            Profile::Azure => launch,
            Profile::Bare => launch.key("pin_on_exec", "always"),
        };
        let proxy = launch.start().await;
        let stage = Self {
            plain,
            pooled,
            proxy,
            setting,
            clients,
            _password: directory,
        };
        for sql in SCENE {
            stage.prepare(sql).await;
        }
        stage
    }

    async fn prepare(&self, sql: &str) {
        for address in [self.plain.addr(), self.pooled.addr()] {
            client(address).await.run(sql).await;
        }
    }

    /// A client of the proxy's.
    pub(crate) async fn client(&self) -> Client {
        client(self.proxy.address()).await
    }

    /// A client of the server that has nothing in between.
    pub(crate) async fn reference(&self) -> Client {
        client(self.plain.addr()).await
    }

    /// What the server behind the proxy counted.
    pub(crate) fn server(&self) -> &TdsServer {
        &self.pooled
    }

    /// Runs the script on both ways. `moods` is used over and over; what the clients send to
    /// entrapool is cut into pieces of at most `piece` bytes.
    ///
    /// # Errors
    /// What differs, in words.
    pub(crate) async fn compare(
        &self,
        script: &[Step],
        moods: &[Mood],
        piece: usize,
    ) -> Result<(), String> {
        self.prepare(AGAIN).await;
        let _confession = Confession(script, moods);
        let plain = self.play(&self.plain, self.plain.addr(), (script, &[], WHOLE));
        let plain = plain.await?;
        let pooled = self.play(&self.pooled, self.proxy.address(), (script, moods, piece));
        let pooled = pooled.await?;
        for (index, (step, (want, got))) in script.iter().zip(plain.iter().zip(&pooled)).enumerate()
        {
            if want != got && !known(&step.words, want, got) {
                return Err(format!(
                    "step {index}, {step:?}\n  direct: {want:#?}\n  pooled: {got:#?}\nof {script:#?}"
                ));
            }
        }
        Ok(())
    }

    /// The answers of a server without anything in between.
    pub(crate) async fn directly(&self, script: &[Step]) -> Vec<Vec<Answer>> {
        self.prepare(AGAIN).await;
        let played = self.play(&self.plain, self.plain.addr(), (script, &[], WHOLE));
        played.await.expect("answers")
    }

    async fn play(
        &self,
        server: &TdsServer,
        address: SocketAddr,
        (script, moods, piece): (&[Step], &[Mood], usize),
    ) -> Result<Vec<Vec<Answer>>, String> {
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(client(address).await);
        }
        let mut intruder = match moods.is_empty() {
            true => None,
            false => {
                let keeps_settings = self.setting != Setting::Transaction;
                Some(Intruder::begin(client(address).await, keeps_settings).await)
            }
        };
        let mut answers = Vec::new();
        let moods = moods.iter().chain([&Mood::Away]).cycle();
        for (step, mood) in script.iter().zip(moods) {
            if let Some(intruder) = &mut intruder {
                let doing = tokio::time::timeout(LIMIT, intruder.before(*mood));
                let done = doing.await;
                done.map_err(|_| {
                    format!("{step:?}: the intruder gets nowhere ({mood:?})\nof {script:#?}")
                })?;
            }
            if let Some(number) = step.fault {
                server.fail_statement(number);
            }
            let client = &mut clients[step.who];
            client.send(&step.request, piece).await;
            if let Some(after) = step.attention {
                tokio::time::sleep(after).await;
                let attention = crate::requests::Request::attention();
                client.send(&attention, piece).await;
            }
            let answer = client.answer(step.awaits_attention()).await;
            let answer = answer.map_err(|silence| {
                format!("{step:?} on {address}: {}\nof {script:#?}", silence.0)
            })?;
            answers.push(shown(&answer));
            if let Some(intruder) = &mut intruder {
                intruder.after(*mood).await;
            }
        }
        Ok(answers)
    }

    /// The moods that the setting allows, from another one on for each `shift`.
    pub(crate) fn moods(&self, shift: usize) -> Vec<Mood> {
        let all = self.all_moods();
        (0..all.len() + 1)
            .map(|n| all[(n * 7 + shift) % all.len()])
            .collect()
    }

    pub(crate) fn all_moods(&self) -> &'static [Mood] {
        match self.setting {
            Setting::Auto | Setting::Session => &MOODS,
            Setting::Crowded => &CROWDED,
            Setting::Transaction => &BRIEF,
        }
    }
}

async fn client(address: SocketAddr) -> Client {
    Client::open(address, (USER, PASSWORD), "appdb").await
}

pub(crate) fn shown(tokens: &[Token]) -> Vec<Answer> {
    tokens.iter().map(Answer::of).collect()
}
