//! PRELOGIN, LOGIN7, tokens, passwords, redirection.

use entrapool_emulator::directory::Principal;
use entrapool_emulator::issuer::{OSSRDBMS_AUDIENCE, SQL_AUDIENCE};
use entrapool_emulator::tds::{Encryption, Profile, TdsServer, Version};
use entrapool_emulator::verifier::TokenRefusal;
use entrapool_emulator::{LocalAzure, ServerChoice};

use crate::answer::{Answer, Token};
use crate::client::{Client, LOGIN7, Login, PRELOGIN, option, prelogin};
use crate::server::{Tenant, plain};

type Outcome = anyhow::Result<()>;

async fn login(server: &TdsServer, login: &Login) -> anyhow::Result<Answer> {
    Client::connect(server.addr()).await?.login(login).await
}

/// Number, class, state and text of the only error.
fn refusal(answer: &Answer) -> (i32, u8, u8, String) {
    let reports = answer.reports();
    assert_eq!(reports.len(), 1, "{answer:?}");
    assert_eq!(answer.dones(), [(0xfd, 2, 0)]);
    let report = reports[0];
    (
        report.number,
        report.class,
        report.state,
        report.text.clone(),
    )
}

#[tokio::test]
async fn tokens_of_every_size_get_in() -> Outcome {
    let tenant = Tenant::new()?;
    let server = tenant.server().start().await?;
    // The largest needs many packets: LOGIN7 may have 128 KB.
    for size in [1_500, 1_900, 20_000, 60_000] {
        tenant.issuer.set_size(size);
        let answer = login(&server, &Login::token(&tenant.token()?, true)).await?;
        assert!(answer.errors().is_empty(), "{size}: {answer:?}");
        assert!(answer.tokens.contains(&Token::Features(vec![(2, vec![])])));
    }
    let logins = server.logins();
    assert_eq!(logins.len(), 4);
    assert_eq!(logins[0].user, "my-vm");
    assert_eq!(logins[0].database, "appdb");
    assert_eq!(logins[0].version, Version::V74);
    assert!(logins.iter().all(|login| login.token_id.is_some()));
    assert_eq!(tenant.record.accepted(), 4);
    assert_eq!(tenant.record.distinct_tokens(), 4);
    Ok(())
}

#[tokio::test]
async fn bad_tokens_are_refused_in_azures_words() -> Outcome {
    let tenant = Tenant::new()?;
    let server = tenant.server().start().await?;
    let vm = Principal::named("my-vm");
    let mut claims = tenant.issuer.claims(&vm, SQL_AUDIENCE)?;
    claims.exp = claims.iat;
    let expired = tenant.issuer.sign(claims)?.secret;
    let audience = tenant.issuer.mint(&vm, OSSRDBMS_AUDIENCE)?.secret;
    let stranger = Principal::named("stranger");
    let stranger = tenant.issuer.mint(&stranger, SQL_AUDIENCE)?.secret;
    let good = tenant.token()?;
    let (head, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.AAAA");
    let plain = "Login failed for user '<token-identified principal>'.";
    for (token, text) in [
        (&expired, format!("{plain} Token is expired.")),
        (&audience, plain.to_owned()),
        (&stranger, plain.to_owned()),
        (&forged, plain.to_owned()),
        (&String::new(), plain.to_owned()),
    ] {
        let answer = login(&server, &Login::token(token, true)).await?;
        assert_eq!(refusal(&answer), (18456, 14, 1, text));
    }
    assert_eq!(tenant.record.refused(TokenRefusal::Expired), 1);
    assert_eq!(tenant.record.refused(TokenRefusal::WrongAudience), 1);
    assert_eq!(tenant.record.refused(TokenRefusal::WrongPrincipal), 1);
    assert_eq!(tenant.record.refused_in_all(), 5);
    assert_eq!(server.counters().refused_logins(), 5);
    assert_eq!(server.counters().logins(), 0);
    Ok(())
}

#[tokio::test]
async fn a_local_azure_has_one_for_its_tenant() -> Outcome {
    let azure = LocalAzure::builder()
        .server(ServerChoice::Embedded)
        .start()
        .await?;
    let server = azure
        .sql_server()?
        .encryption(Encryption::NotSupported)
        .start()
        .await?;
    let token = azure
        .issuer()
        .mint(&Principal::named("my-vm"), SQL_AUDIENCE)?;
    let answer = login(&server, &Login::token(&token.secret, true)).await?;
    assert!(answer.errors().is_empty());
    assert_eq!(server.record().map(|record| record.accepted()), Some(1));
    Ok(())
}

#[tokio::test]
async fn the_echo_bit_and_lonely_tokens_are_required() -> Outcome {
    let tenant = Tenant::new()?;
    let server = tenant.server().start().await?;
    let token = tenant.token()?;
    let answer = login(&server, &Login::token(&token, false)).await?;
    assert_eq!(refusal(&answer).0, 4002);
    let mut named = Login::token(&token, true);
    named.user = "sa".to_owned();
    assert_eq!(refusal(&login(&server, &named).await?).0, 4002);
    // Library 2 wants a challenge, which this server does not make.
    let mut msal = Login::token(&token, true);
    msal.features = vec![(2, vec![2 << 1 | 1, 3])];
    assert_eq!(refusal(&login(&server, &msal).await?).0, 40_000);
    // A client that did not ask in PRELOGIN must not echo.
    let mut client = Client::connect(server.addr()).await?;
    client.send(PRELOGIN, &prelogin(2, false)).await?;
    assert_eq!(option(&client.message().await?, 6), None);
    let answer = client.login7(&Login::token(&token, false)).await?;
    assert!(answer.errors().is_empty());
    Ok(())
}

#[tokio::test]
async fn databases_have_to_exist_and_master_is_not_for_contained_users() -> Outcome {
    let tenant = Tenant::new()?;
    let server = tenant.server().password("sa", "secret").start().await?;
    let token = tenant.token()?;
    let mut nowhere = Login::token(&token, true);
    nowhere.database = "nowhere".to_owned();
    let text = "Cannot open database \"nowhere\" requested by the login. The login failed.";
    assert_eq!(
        refusal(&login(&server, &nowhere).await?),
        (4060, 11, 1, text.to_owned())
    );
    for database in ["master", ""] {
        let mut master = Login::token(&token, true);
        master.database = database.to_owned();
        assert_eq!(refusal(&login(&server, &master).await?).0, 18456);
    }
    let mut sa = Login::sa();
    sa.database = "master".to_owned();
    assert!(login(&server, &sa).await?.errors().is_empty());
    sa.database = String::new();
    assert!(login(&server, &sa).await?.errors().is_empty());
    assert_eq!(server.logins().last().unwrap().database, "appdb");
    Ok(())
}

#[tokio::test]
async fn passwords_are_checked() -> Outcome {
    let server = plain().start().await?;
    assert!(login(&server, &Login::sa()).await?.errors().is_empty());
    let mut wrong = Login::sa();
    wrong.password = "Secret".to_owned();
    let answer = login(&server, &wrong).await?;
    assert_eq!(
        refusal(&answer),
        (18456, 14, 1, "Login failed for user 'sa'.".to_owned())
    );
    let mut integrated = Login::sa();
    integrated.flags2 = 0x82;
    assert_eq!(refusal(&login(&server, &integrated).await?).0, 18452);
    // Tokens mean nothing to a server without Entra.
    let mut client = Client::connect(server.addr()).await?;
    client.send(PRELOGIN, &prelogin(2, true)).await?;
    assert_eq!(option(&client.message().await?, 6), Some(vec![0]));
    let answer = client.login7(&Login::token("x", false)).await?;
    assert_eq!(refusal(&answer).0, 18456);
    assert!(client.is_closed().await);
    Ok(())
}

#[tokio::test]
async fn the_answer_has_the_order_of_real_servers() -> Outcome {
    let server = plain().start().await?;
    let asked = Login::sa()
        .with(1, &[])
        .with(4, &[1])
        .with(9, &[2])
        .with(0x0a, &[1]);
    let answer = login(&server, &asked).await?;
    let names: Vec<String> = answer
        .tokens
        .iter()
        .map(|token| match token {
            Token::Env(kind, _, _) => format!("env {kind}"),
            Token::Info(info) => format!("info {}", info.number),
            Token::LoginAck(_) => "ack".to_owned(),
            Token::Features(_) => "features".to_owned(),
            Token::Done { status, .. } => format!("done {status}"),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "env 1",
        "info 5701",
        "env 7",
        "env 2",
        "info 5703",
        "ack",
        "features",
        "env 4",
        "done 0",
    ];
    assert_eq!(names, expected);
    // Only what was asked for, and only what the server does.
    let Some(Token::Features(features)) = answer
        .tokens
        .iter()
        .find(|token| matches!(token, Token::Features(_)))
    else {
        anyhow::bail!("no features");
    };
    let ids: Vec<u8> = features.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 0x0a]);
    assert!(!features[0].1.is_empty());
    let bare = login(&server, &Login::sa()).await?;
    assert!(
        !bare
            .tokens
            .iter()
            .any(|token| matches!(token, Token::Features(_)))
    );
    Ok(())
}

#[tokio::test]
async fn a_bare_server_acknowledges_nothing() -> Outcome {
    let server = plain().profile(Profile::Bare).start().await?;
    let answer = login(&server, &Login::sa().with(1, &[]).with(0x0a, &[1])).await?;
    assert!(answer.errors().is_empty());
    assert!(
        !answer
            .tokens
            .iter()
            .any(|token| matches!(token, Token::Features(_)))
    );
    Ok(())
}

#[tokio::test]
async fn every_version_from_7_1_on_gets_its_own_acknowledgement() -> Outcome {
    let server = plain().start().await?;
    for (version, bytes) in [
        (0x7100_0001, [0x71, 0, 0, 1]),
        (0x7209_0002, [0x72, 9, 0, 2]),
        (0x730a_0003, [0x73, 0x0a, 0, 3]),
        (0x730b_0003, [0x73, 0x0b, 0, 3]),
        (0x7400_0004, [0x74, 0, 0, 4]),
    ] {
        let asked = Login {
            version,
            ..Login::sa()
        };
        let mut client = Client::connect(server.addr()).await?;
        let answer = client.login(&asked).await?;
        let ack = answer.tokens.iter().find_map(|token| match token {
            Token::LoginAck(body) => Some(body[1..5].to_vec()),
            _ => None,
        });
        assert_eq!(ack, Some(bytes.to_vec()));
        assert_eq!(client.value("select 1 + 1").await?.as_deref(), Some("2"));
        let long = "select replicate(N'x', 9000)";
        assert_eq!(client.value(long).await?.map(|text| text.len()), Some(9000));
        let date = client.value("select cast('2024-02-29' as date)").await?;
        let expected = if version < 0x730a_0003 {
            "2024-02-29"
        } else {
            "80460b"
        };
        assert_eq!(date.as_deref(), Some(expected));
    }
    let mut client = Client::connect(server.addr()).await?;
    let answer = client
        .login(&Login {
            version: 0x7000_0000,
            ..Login::sa()
        })
        .await;
    assert_eq!(answer?.errors().first().map(|error| error.1), Some(20));
    Ok(())
}

#[tokio::test]
async fn login7_may_come_without_prelogin() -> Outcome {
    let server = plain().start().await?;
    let mut client = Client::connect(server.addr()).await?;
    let answer = client
        .login7(&Login {
            version: 0x7100_0001,
            ..Login::sa()
        })
        .await?;
    assert!(answer.errors().is_empty());
    Ok(())
}

#[tokio::test]
async fn redirections_name_the_server_and_the_target_wants_its_name() -> Outcome {
    let tenant = Tenant::new()?;
    let target = tenant
        .server()
        .routed_as("node1.local", None)
        .start()
        .await?;
    let port = target.addr().port();
    let gateway = tenant
        .server()
        .redirect_to("node1.local", port)
        .start()
        .await?;
    let token = tenant.token()?;
    let answer = login(&gateway, &Login::token(&token, true)).await?;
    let mut expected = vec![0, 0, 0];
    expected.extend(port.to_le_bytes());
    expected.extend([11, 0]);
    expected.extend(crate::client::utf16("node1.local"));
    expected[0] = u8::try_from(expected.len() - 2)?;
    expected.extend([0, 0]);
    assert!(answer.tokens.contains(&Token::Env(20, expected, vec![])));
    // With feature 0F the database comes along.
    let answer = login(&gateway, &Login::token(&token, true).with(0x0f, &[])).await?;
    assert_eq!(answer.env(), [21]);
    assert_eq!(gateway.counters().redirects(), 2);
    assert_eq!(gateway.counters().logins(), 0);
    // A bad token is refused, not redirected.
    assert_eq!(
        refusal(&login(&gateway, &Login::token("x", true)).await?).0,
        18456
    );

    let mut routed = Login::token(&token, true);
    assert_eq!(refusal(&login(&target, &routed).await?).0, 40_532);
    routed.server = String::new();
    assert_eq!(refusal(&login(&target, &routed).await?).0, 40_531);
    routed.server = format!("NODE1.local,{port}");
    assert!(login(&target, &routed).await?.errors().is_empty());
    Ok(())
}

#[tokio::test]
async fn injected_login_errors_come_in_order_and_end() -> Outcome {
    let server = plain().login_error(40_613, 2).start().await?;
    assert_eq!(refusal(&login(&server, &Login::sa()).await?).0, 40_613);
    server.fail_logins(18_456, 1);
    assert_eq!(refusal(&login(&server, &Login::sa()).await?).0, 40_613);
    let expired = refusal(&login(&server, &Login::sa()).await?);
    assert!(expired.3.ends_with("Token is expired."));
    assert!(login(&server, &Login::sa()).await?.errors().is_empty());
    Ok(())
}

#[tokio::test]
async fn prelogin_answers_every_option() -> Outcome {
    let server = plain().start().await?;
    for (asked, answered) in [(0, 2), (1, 2), (2, 2), (3, 2)] {
        let mut client = Client::connect(server.addr()).await?;
        client.send(PRELOGIN, &prelogin(asked, false)).await?;
        let body = client.message().await?;
        assert_eq!(option(&body, 0).map(|version| version.len()), Some(6));
        assert_eq!(option(&body, 1), Some(vec![answered]));
        assert_eq!(option(&body, 2), Some(vec![0]));
        assert_eq!(option(&body, 3), Some(vec![]));
        // MARS was asked for and is declined.
        assert_eq!(option(&body, 4), Some(vec![0]));
        assert_eq!(option(&body, 6), None);
    }
    Ok(())
}

#[tokio::test]
async fn malformed_logins_are_met_with_silence() -> Outcome {
    let server = plain().start().await?;
    let mut good = Login::sa().bytes();
    good.truncate(120);
    let mut outside = Login::sa().bytes();
    outside[36..38].copy_from_slice(&60_000_u16.to_le_bytes());
    for body in [vec![], vec![0; 200], good, outside] {
        let mut client = Client::connect(server.addr()).await?;
        client.send(PRELOGIN, &prelogin(2, false)).await?;
        client.message().await?;
        client.send(LOGIN7, &body).await?;
        assert!(client.is_closed().await);
    }
    for body in [
        vec![0xff],
        vec![1, 0, 6, 0, 1, 0xff, 2],
        vec![0, 0, 50, 0, 6, 0xff],
    ] {
        let mut client = Client::connect(server.addr()).await?;
        client.send(PRELOGIN, &body).await?;
        assert!(client.is_closed().await);
    }
    Ok(())
}

#[tokio::test]
async fn languages_are_set_at_the_login() -> Outcome {
    let server = plain().start().await?;
    let german = Login {
        language: "German".to_owned(),
        ..Login::sa()
    };
    let mut client = Client::open(&server, &german).await?;
    let row = client.ok("select @@language, @@datefirst").await?.rows();
    assert_eq!(row[0], [Some("Deutsch".to_owned()), Some("1".to_owned())]);
    let unknown = Login {
        language: "Klingon".to_owned(),
        ..Login::sa()
    };
    assert_eq!(refusal(&login(&server, &unknown).await?).0, 2740);
    Ok(())
}
