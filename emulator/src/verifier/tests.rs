use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::directory::Principal;
use crate::issuer::{Issuer, OSSRDBMS_AUDIENCE, SQL_AUDIENCE};

struct Tenant {
    issuer: Issuer,
    verifier: Verifier,
    vm: Principal,
}

fn tenant() -> Tenant {
    let directory = Arc::new(Directory::new("test"));
    let vm = Principal::named("my-vm");
    directory.register(vm.clone());
    directory.register(Principal::named("other-vm"));
    let issuer = Issuer::new(Arc::clone(&directory)).unwrap();
    let verifier = Verifier::new(issuer.public_key(), directory, OSSRDBMS_AUDIENCE);
    Tenant {
        issuer,
        verifier,
        vm,
    }
}

impl Tenant {
    /// The verdict on a token whose claims were changed before signing.
    fn changed(&self, change: impl FnOnce(&mut Claims)) -> Result<Claims, TokenRefusal> {
        let mut claims = self.issuer.claims(&self.vm, OSSRDBMS_AUDIENCE).unwrap();
        change(&mut claims);
        let token = self.issuer.sign(claims).unwrap();
        self.verifier.check(&token.secret, "my-vm")
    }
}

#[test]
fn good_tokens_log_in_as_their_own_role_only() {
    let tenant = tenant();
    let token = tenant.issuer.mint(&tenant.vm, OSSRDBMS_AUDIENCE).unwrap();
    assert_eq!(
        tenant.verifier.check(&token.secret, "my-vm"),
        Ok(token.claims)
    );
    for role in ["other-vm", "MY-VM", "", "nobody"] {
        assert_eq!(
            tenant.verifier.check(&token.secret, role),
            Err(TokenRefusal::WrongPrincipal),
            "{role}"
        );
    }
}

#[test]
fn every_claim_is_checked() {
    let tenant = tenant();
    let now = clock::now();
    assert!(tenant.changed(|_| {}).is_ok());
    assert_eq!(
        tenant.changed(|claims| claims.exp = now),
        Err(TokenRefusal::Expired)
    );
    assert_eq!(
        tenant.changed(|claims| claims.nbf = now + 60),
        Err(TokenRefusal::NotYetValid)
    );
    assert_eq!(
        tenant.changed(|claims| claims.aud = SQL_AUDIENCE.to_owned()),
        Err(TokenRefusal::WrongAudience)
    );
    assert_eq!(
        tenant.changed(|claims| claims.tid = "another".to_owned()),
        Err(TokenRefusal::WrongIssuer)
    );
    assert_eq!(
        tenant.changed(|claims| claims.iss = "https://sts.windows.net/x/".to_owned()),
        Err(TokenRefusal::WrongIssuer)
    );
    assert_eq!(
        tenant.changed(|claims| claims.oid = "unknown".to_owned()),
        Err(TokenRefusal::WrongPrincipal)
    );
    assert_eq!(
        tenant.changed(|claims| claims.appid = "unknown".to_owned()),
        Err(TokenRefusal::WrongPrincipal)
    );
    assert!(
        tenant
            .changed(|claims| claims.aud = format!("{OSSRDBMS_AUDIENCE}/"))
            .is_ok()
    );
}

#[test]
fn garbage_is_malformed() {
    let tenant = tenant();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let nothing = URL_SAFE_NO_PAD.encode("{}");
    for garbage in [
        String::new(),
        "password".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{none}.{nothing}."),
        "x".repeat(60_000),
    ] {
        assert_eq!(
            tenant.verifier.check(&garbage, "my-vm"),
            Err(TokenRefusal::Malformed)
        );
    }
}

#[test]
fn tampering_breaks_the_signature() {
    let tenant = tenant();
    let token = tenant
        .issuer
        .mint(&tenant.vm, OSSRDBMS_AUDIENCE)
        .unwrap()
        .secret;
    let parts: Vec<&str> = token.split('.').collect();
    let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let longer = String::from_utf8(payload)
        .unwrap()
        .replacen("\"exp\":1", "\"exp\":9", 1);
    let payload = URL_SAFE_NO_PAD.encode(longer);
    let tampered = format!("{}.{payload}.{}", parts[0], parts[2]);
    assert_ne!(tampered, token);
    assert_eq!(
        tenant.verifier.check(&tampered, "my-vm"),
        Err(TokenRefusal::BadSignature)
    );
    let stranger = Issuer::new(Arc::clone(tenant.issuer.directory())).unwrap();
    let forged = stranger.mint(&tenant.vm, OSSRDBMS_AUDIENCE).unwrap();
    assert_eq!(
        tenant.verifier.check(&forged.secret, "my-vm"),
        Err(TokenRefusal::BadSignature)
    );
}

#[test]
fn size_and_life_are_as_set() {
    let tenant = tenant();
    for size in [1_900, 8_000, 20_000, 60_000] {
        tenant.issuer.set_size(size);
        let token = tenant.issuer.mint(&tenant.vm, OSSRDBMS_AUDIENCE).unwrap();
        let off = token.secret.len().abs_diff(size);
        assert!(off < 40, "{size}: {} bytes", token.secret.len());
    }
    tenant.issuer.set_life(Duration::from_secs(10));
    let claims = tenant.issuer.claims(&tenant.vm, OSSRDBMS_AUDIENCE).unwrap();
    assert_eq!(claims.exp - claims.iat, 10);
    assert_eq!(claims.sub, claims.oid);
    assert_eq!(claims.xms_mirid, tenant.vm.resource_id);
}

#[test]
fn a_token_does_not_show_in_debug() {
    let tenant = tenant();
    let token = tenant.issuer.mint(&tenant.vm, OSSRDBMS_AUDIENCE).unwrap();
    let shown = format!("{token:?} {:?}", tenant.issuer);
    assert!(!shown.contains(&token.secret[..20]), "{shown}");
}
