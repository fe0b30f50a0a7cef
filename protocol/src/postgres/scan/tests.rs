use super::*;

fn effects(text: &str) -> Effects {
    let found = scan(text.as_bytes(), &mut Vec::new()).effects;
    found.without(Effects::STATE)
}

fn custom(text: &str) -> Vec<String> {
    let found = scan(text.as_bytes(), &mut Vec::new());
    found.custom.into_iter().map(String::from).collect()
}

const NOTHING: Effects = Effects::SETTING.without(Effects::SETTING);

#[test]
fn what_drivers_send_leaves_nothing() {
    for text in [
        "",
        ";",
        "BEGIN",
        "begin isolation level serializable; commit",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 7;",
        "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
        "SELECT COUNT(*) AS \"__count\", coalesce(max(x), 0) FROM t WHERE lower(y) IN ('a', 'b')",
        "select a from (select 1 as a) as sub(a) where exists (select 1)",
        "with recursive w(a) as (select 1) select * from w",
        "SET LOCAL app.user = 'x'",
        "set transaction isolation level serializable",
        "set constraints all deferred",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2, 3)",
        "select set_config('app.user', $1, true)",
        "select 'set_config(1)', $$ setseed(1) $$, $a$ $b$ $a$ -- nextval('x')\n /* listen /* a */ */",
        "select temp, \"temporary\" from weather",
        "prepare transaction 'x'",
        "notify a, 'b'; select pg_notify('a', 'b')",
        "create index on t (lower(a))",
        "select E'\\'', e'it\\'s set'",
    ] {
        assert_eq!(effects(text), NOTHING, "{text}");
    }
}

#[test]
fn what_may_be_left() {
    for (text, expected) in [
        ("SET x TO 1", Effects::SETTING),
        ("set session work_mem = '1MB'", Effects::SETTING),
        (
            "set session characteristics as transaction read only",
            Effects::SETTING,
        ),
        ("set role a", Effects::SETTING),
        ("/* */ reset x", Effects::SETTING),
        (
            "discard all",
            Effects::SETTING | Effects::RELATION | Effects::FORGET,
        ),
        ("begin; set x = 1; commit", Effects::SETTING),
        (
            "select pg_catalog.set_config('a.b', 'c', false)",
            Effects::SETTING,
        ),
        (
            "select set_config($1, $2, false)",
            Effects::SETTING | Effects::UNNAMED,
        ),
        (
            "select set_config('x', f(')'), $1)",
            Effects::SETTING | Effects::CODE,
        ),
        ("set seed = 0.5", Effects::SETTING | Effects::HIDDEN),
        ("select setseed(0.5)", Effects::HIDDEN),
        ("LOAD 'x'", Effects::HIDDEN),
        ("create temp table t (a int)", Effects::RELATION),
        (
            "create or replace temporary view v as select 1",
            Effects::RELATION,
        ),
        ("create global temporary table t ()", Effects::RELATION),
        ("select 1 into temp t", Effects::RELATION),
        ("create table pg_temp.t ()", Effects::RELATION),
        ("create table \"pg_temp\".t ()", Effects::RELATION),
        ("drop table t", Effects::RELATION),
        ("select pg_advisory_lock(1)", Effects::LOCK),
        ("select PG_TRY_ADVISORY_LOCK_SHARED (1)", Effects::LOCK),
        ("select pg_advisory_unlock_all()", Effects::LOCK),
        ("declare c cursor with hold for select 1", Effects::CURSOR),
        ("declare c cursor for select 1", NOTHING),
        ("close c", Effects::CURSOR),
        ("listen a", Effects::LISTEN),
        ("unlisten *", Effects::LISTEN),
        ("prepare p as select 1", Effects::PREPARE),
        ("deallocate p", Effects::PREPARE | Effects::FORGET),
        ("select nextval('s')", Effects::ADVANCE),
        ("select lastval()", Effects::SEQUENCE | Effects::RECALL),
        (
            "insert into t values (currval('s'))",
            Effects::SEQUENCE | Effects::RECALL | Effects::ADVANCE,
        ),
        (
            "INSERT INTO pgbench_history (tid, bid) VALUES (1, 2), (3, 4)",
            Effects::ADVANCE,
        ),
        (
            "insert into public.t(a) values (now()) on conflict (a) do nothing returning (a)",
            Effects::ADVANCE,
        ),
        (
            "INSERT INTO \"django_session\" (\"key\") VALUES (%s)",
            Effects::ADVANCE,
        ),
        (
            "with n as (insert into t default values returning id) select * from n",
            Effects::ADVANCE,
        ),
        ("copy t (a, b) from stdin", Effects::ADVANCE),
        ("select f(1)", Effects::CODE),
        ("select app.now()", Effects::CODE),
        ("select \"now\"()", Effects::CODE),
        ("select a.b.c(1)", Effects::CODE),
        ("call p()", Effects::CODE),
        ("do $$ begin perform 1; end $$", Effects::CODE),
        ("select 'open", Effects::CODE),
        ("select 'a\\'' || setseed(1) --'", Effects::HIDDEN),
        ("select 'c:\\', setseed(1), 'd'", Effects::HIDDEN),
        ("select 'a\\', ' , setseed(1), ' '", Effects::HIDDEN),
        ("select 'c:\\', 1", NOTHING),
        ("select $A$ $a$, setseed(1) $A$", NOTHING),
    ] {
        assert_eq!(effects(text), expected, "{text}");
    }
}

#[test]
fn what_stays_for_certain() {
    let stays = |text: &str| {
        let found = scan(text.as_bytes(), &mut Vec::new());
        found.effects.any(Effects::STATE)
    };
    for text in [
        "create temp table t ()",
        "select 1 into temp t",
        "declare c cursor with hold for select 1",
        "select pg_advisory_lock(1)",
        "prepare p as select 1",
        "load 'x'",
        "select setseed(1)",
        "select currval('s')",
        "select set_config($1, $2, false)",
    ] {
        assert!(stays(text), "{text}");
    }
    for text in [
        "create table t ()",
        "create temp table t on commit drop as select 1",
        "drop table t",
        "declare c cursor for select 1",
        "select pg_advisory_xact_lock(1), pg_advisory_unlock(1)",
        "listen b; unlisten a; deallocate p; close c; reset all; discard all",
        "set app.user = 'x'; select set_config('a.b', $1, false)",
        "select nextval('s')",
        "select f(); do 'x'; call p()",
    ] {
        assert!(!stays(text), "{text}");
    }
}

#[test]
fn the_body_of_a_do_is_read() {
    assert_eq!(
        custom("do $$ begin perform set_config('App.User', x, false); end $$"),
        ["app.user"]
    );
    assert!(effects("do 'begin execute x; end'").any(Effects::UNNAMED));
    assert!(effects("do $$ begin perform setseed(1); end $$").any(Effects::HIDDEN));
    assert_eq!(
        custom("do $$ begin set local a.b = 1; set a.c = 2; end $$"),
        ["a.c"]
    );
}

#[test]
fn a_statement_that_names_another_is_found() {
    use Verb::{Deallocate, Execute};
    for (text, verb, before, name) in [
        ("DEALLOCATE _pg3_0", Deallocate, "DEALLOCATE ", "_pg3_0"),
        (
            " deallocate prepare S1 ;",
            Deallocate,
            " deallocate prepare ",
            "s1",
        ),
        ("deallocate \"S \"\"1\"", Deallocate, "deallocate ", "S \"1"),
        ("execute s", Execute, "execute ", "s"),
        ("EXECUTE \"S\"(1, 'a;b');", Execute, "EXECUTE ", "S"),
        (
            "explain (analyze, costs off) execute s(1)",
            Execute,
            "explain (analyze, costs off) execute ",
            "s",
        ),
        (
            "explain analyze verbose execute s",
            Execute,
            "explain analyze verbose execute ",
            "s",
        ),
        (
            "create temp table t as execute s(1)",
            Execute,
            "create temp table t as execute ",
            "s",
        ),
    ] {
        let found = named(text.as_bytes()).unwrap();
        assert_eq!(found.verb, verb);
        assert_eq!(&text[..found.at.start], before);
        assert_eq!(found.name, name.as_bytes());
        let there = text[found.at].to_lowercase();
        assert!(there.contains(&name.to_lowercase()[..1]));
    }
    for text in [
        "deallocate all",
        "deallocate",
        "deallocate a; select 1",
        "execute a; execute b",
        "execute a('",
        "explain select 1",
        "explain select execute from t",
        "create table execute (n int)",
        "create function f() returns void language sql as 'execute s'",
        "do 'x'",
        "delete from t",
        "",
    ] {
        assert_eq!(named(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn custom_settings_are_named() {
    assert_eq!(
        custom("SET app.user = 'x'; set \"App\".tenant to 2"),
        ["app.user", "app.tenant"]
    );
    assert_eq!(
        custom("select set_config('app.user', 'x', false)"),
        ["app.user"]
    );
    assert_eq!(custom("reset app.user"), Vec::<String>::new());
    let many: String = (0..=MOST_NAMES)
        .map(|n| format!("set a.b{n} = 1;"))
        .collect();
    assert!(effects(&many).any(Effects::UNNAMED));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(text in proptest::collection::vec(0_u8..=255, 0..200)) {
        let _ = scan(&text, &mut Vec::new());
    }

    #[test]
    fn any_sql_is_read_to_its_end(text in "([a-z('\";$/*\\-\\\\) .=1]|set |do |\\$a\\$){0,60}") {
        let _ = scan(text.as_bytes(), &mut Vec::new());
    }
}

#[test]
fn a_lone_set_is_told_from_more() {
    for (text, expected) in [
        ("SET a TO 'b'", true),
        (" set session search_path = a, \"B\" ; ;", true),
        ("SET TIME ZONE 'UTC' -- why", true),
        ("set a to 'x;y'", true),
        ("set a to 'x'; select 1", false),
        ("select 1", false),
        ("reset a", false),
        ("settle a", false),
        ("set a to 'x", false),
        ("set a to 'x\\'; select 1 --'", false),
        ("", false),
    ] {
        let found = scan(text.as_bytes(), &mut Vec::new()).is_lone_set;
        assert_eq!(found, expected, "{text}");
    }
}
