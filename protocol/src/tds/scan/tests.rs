use super::*;
use crate::tds::reader::push_utf16;

fn of(text: &str) -> Effects {
    let mut bytes = Vec::new();
    push_utf16(&mut bytes, text);
    scan(&bytes, &mut Vec::new()).effects
}

#[test]
fn plain_statements_leave_nothing() {
    for text in [
        "",
        "SELECT 1",
        "select * from t where a = '#x' -- #y\n/* set nocount on /* #z */ */",
        "update t set nocount = 1, #_ignored = 2"
            .split(',')
            .next()
            .unwrap_or_default(),
        "delete from t where id = @p1",
        "select a from [dbo].[set] order by a offset 1 rows fetch next 2 rows only",
        "declare @x int; set @x = 1; select @x",
        "select 1 option (use hint('x'))",
        "create procedure p as set nocount on; create table #t(a int); exec('x')",
        "create or alter view v as select 1 a",
        "begin tran; update t set a = 1; commit",
        "BEGIN TRY select 1 END TRY BEGIN CATCH throw END CATCH",
        "declare c cursor local for select 1",
        "declare @c cursor",
        "exec sp_columns 't'",
        "exec [sys].[sp_tables]",
        "exec sp_executesql N'select @a', N'@a int', 1",
        "exec sp_getapplock 'x', 'Exclusive'",
        "exec('select 1')",
        "select name from tempdb.sys.objects; select a.[set] from a",
        "update t set a = 1; select @@rowcount",
        "alter database x set recovery simple",
        "select case when 1=1 then 'use x' end",
    ] {
        assert_eq!(of(text), Effects::default(), "{text:?}");
    }
}

#[test]
fn what_stays_is_found() {
    let advance = Effects::ADVANCE;
    for (text, expected) in [
        ("set nocount on", Effects::SETTING),
        ("select 1 SET ROWCOUNT 5", Effects::SETTING),
        ("use [app]", Effects::SETTING),
        (
            "set implicit_transactions on",
            Effects::SETTING | Effects::IMPLICIT,
        ),
        ("update t set a = 1 set nocount on", Effects::SETTING),
        ("set context_info 0x01", Effects::CONTEXT),
        ("create table #t (a int)", Effects::TEMP_TABLE),
        ("select * into #t from t", Effects::TEMP_TABLE | advance),
        ("select * from tempdb..[#t]", Effects::TEMP_TABLE),
        ("create proc #p as select 1", Effects::TEMP_TABLE),
        (
            "create table #t_ (a int)",
            Effects::TEMP_TABLE | Effects::UNKNOWN,
        ),
        ("select * from ##t", Effects::GLOBAL_TABLE),
        ("exec('create table ##t (a int)')", Effects::GLOBAL_TABLE),
        ("declare c cursor for select 1", Effects::CURSOR),
        (
            "declare c insensitive scroll cursor for select 1",
            Effects::CURSOR,
        ),
        (
            "exec sp_getapplock 'x', 'Shared', 'Session'",
            Effects::APP_LOCK,
        ),
        (
            "exec sp_getapplock @Resource = 'x', @LockOwner = @o",
            Effects::APP_LOCK,
        ),
        ("exec sp_releaseapplock 'x', 'Session'", Effects::RELEASE),
        ("deallocate c", Effects::RELEASE),
        ("exec sp_setapprole 'r', 'p'", Effects::TAINTED),
        ("execute as user = 'x'", Effects::EXECUTE_AS),
        ("revert", Effects::EXECUTE_AS),
        (
            "exec sp_set_session_context 'k', 1",
            Effects::SESSION_CONTEXT,
        ),
        ("dbcc traceon (1204)", Effects::TRACE),
        ("exec sp_xml_preparedocument @h output, @x", Effects::HANDLE),
        ("begin tran", Effects::BEGIN),
        ("BEGIN TRANSACTION x; begin tran; commit", Effects::BEGIN),
        ("commit", Effects::END),
        ("IF @@TRANCOUNT > 0 ROLLBACK TRAN", Effects::END),
        ("commit tran begin tran", Effects::END | Effects::BEGIN),
        (
            "begin distributed tran",
            Effects::DISTRIBUTED | Effects::BEGIN,
        ),
        ("insert into t values (1)", advance),
        ("insert bulk t (a int)", Effects::BULK | advance),
        (
            "merge t using s on 1 = 1 when matched then update set a = 1;",
            advance,
        ),
        ("exec mine", Effects::CODE | advance),
        ("mine 1, 2", Effects::CODE | advance),
        ("[dbo].[mine]", Effects::CODE | advance),
        ("exec @r = dbo.mine 1", Effects::CODE | advance),
        ("exec @name", Effects::CODE | advance),
        ("exec('select ' + @x)", Effects::CODE | advance),
        ("exec('exec sp_setapprole ''a'', ''b''')", Effects::TAINTED),
        ("exec sp_executesql @text", Effects::CODE | advance),
        ("exec sp_executesql N'insert into t values (1)'", advance),
        ("select @@identity", Effects::RECALL),
        ("select scope_identity() as id", Effects::RECALL),
        ("if @@error <> 0 rollback", Effects::RECALL | Effects::END),
        (
            "insert into t values (1) select @@identity, @@error",
            advance,
        ),
        ("select @@rowcount", Effects::RECALL),
        ("select 'open", Effects::UNKNOWN | advance),
        ("/* open", Effects::UNKNOWN | advance),
    ] {
        assert_eq!(of(text), expected, "{text:?}");
    }
    assert_eq!(of(&"x".repeat(LONGEST)), Effects::UNKNOWN | advance);
}

#[test]
fn handles_in_texts_are_found() {
    let of = |text: &str| {
        let mut bytes = Vec::new();
        push_utf16(&mut bytes, text);
        unprepared(&bytes, &mut Vec::new())
    };
    assert_eq!(
        of("EXEC sp_unprepare 12;EXEC sp_unprepare 3;"),
        Some(vec![12, 3])
    );
    for text in [
        "",
        "EXEC sp_unprepare x",
        "exec sp_unprepare 1; select 1",
        "exec sp_who",
    ] {
        assert_eq!(of(text), None, "{text:?}");
    }
}

#[test]
fn the_table_is_sorted() {
    assert!(STATEMENTS.is_sorted_by(|one, other| one < other));
}
