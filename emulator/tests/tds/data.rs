//! T-SQL over the store: types, queries, changes, definitions, control flow.

use crate::client::{BULK, Client, utf16};
use crate::server::plain_pair;

type Outcome = anyhow::Result<()>;

/// Rows as text; NULL is `-`.
async fn rows(client: &mut Client, sql: &str) -> anyhow::Result<Vec<String>> {
    let rows = client.ok(sql).await?.rows();
    let shown = |row: Vec<Option<String>>| {
        let values = row
            .into_iter()
            .map(|value| value.unwrap_or_else(|| "-".to_owned()));
        values.collect::<Vec<_>>().join(" ")
    };
    Ok(rows.into_iter().map(shown).collect())
}

#[tokio::test]
async fn expressions_have_t_sqls_values() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    for (sql, expected) in [
        ("7 / 2", "3"),
        ("7 % 4", "3"),
        ("-7 / 2", "-3"),
        ("7 / 2.0", "3.500000"),
        ("1.10 + 2.205", "3.305"),
        ("'a' + 'b'", "ab"),
        ("N'ä' + 'b'", "äb"),
        ("1 + '2'", "3"),
        ("case when 'A' = 'a' then 1 else 2 end", "1"),
        ("case 3 when 1 then 'x' when 3 then 'y' end", "y"),
        ("iif(1 > 2, 'x', 'y')", "y"),
        ("isnull(null, 'x')", "x"),
        ("coalesce(null, null, 3)", "3"),
        ("nullif(1, 1)", "-"),
        ("len('abc  ')", "3"),
        ("datalength(N'abc')", "6"),
        ("substring('abcdef', 2, 3)", "bcd"),
        ("left('abc', 2) + right('abc', 1)", "abc"),
        ("upper('a') + lower('B') + ltrim(' c')", "Abc"),
        ("replace('abc', 'b', 'x')", "axc"),
        ("charindex('C', 'abc')", "3"),
        ("concat('a', null, 1)", "a1"),
        ("replicate('ab', 2)", "abab"),
        ("cast('12' as int) + 1", "13"),
        ("cast(3.7 as int)", "3"),
        ("cast(1 as nvarchar(10)) + 'x'", "1x"),
        ("convert(varchar(3), 'abcdef')", "abc"),
        ("try_cast('x' as int)", "-"),
        ("cast('1.005' as decimal(10, 2))", "1.01"),
        (
            "convert(nvarchar(30), cast('2024-02-29 13:14:15.123' as datetime), 121)",
            "2024-02-29 13:14:15.123",
        ),
        (
            "convert(nvarchar(30), dateadd(month, 1, cast('2024-01-31' as date)), 23)",
            "2024-02-29",
        ),
        ("datediff(day, '2024-02-28', '2024-03-01')", "2"),
        ("datepart(weekday, '2024-02-29')", "5"),
        ("year('2024-02-29')", "2024"),
        ("case when 'abc' like 'a[a-c]_' then 1 else 0 end", "1"),
        (
            "case when 2 between 1 and 3 and 5 not in (1, 2) then 1 else 0 end",
            "1",
        ),
        ("5 & 3 | 8", "9"),
        ("5 ^ 1", "4"),
        ("round(2.567, 2)", "2.570"),
        ("0xff", "ff"),
        ("'it''s'", "it's"),
        ("db_name()", "appdb"),
        (
            "app_name() + '/' + host_name() + '/' + suser_sname()",
            "tests/host/sa",
        ),
        ("@@trancount", "0"),
        ("@@max_precision", "38"),
        ("null", "-"),
    ] {
        let found = rows(&mut client, &format!("select {sql}")).await?;
        assert_eq!(found, [expected], "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn tables_hold_every_type() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table dbo.kinds (id int identity(1,1) primary key, b bit, t tinyint, s smallint, \
             g bigint, r real, f float, d decimal(18,4), m money, c char(5), v varchar(20), \
             n nvarchar(max), x varbinary(10), y date, z time(3), w datetime, u datetime2(7), \
             o datetimeoffset(0), q uniqueidentifier, k smalldatetime)")
        .await?;
    client
        .ok(
            "insert into [dbo].[kinds] values (1, 255, -3, 9007199254740993, 0.5, 1e10, 12.34567, \
             99.5, 'ab', 'vc', N'ünï', 0x0102, '2024-02-29', '10:11:12.1239', \
             '2024-02-29 10:11:12.997', '2024-02-29 10:11:12.1234567', \
             '2024-02-29 10:11:12 +02:00', '01020304-0506-0708-090a-0b0c0d0e0f10', \
             '2024-02-29 10:11:40')",
        )
        .await?;
    let answer = client.ok("select * from kinds").await?;
    let kinds: Vec<u8> = answer.columns().iter().map(|column| column.kind).collect();
    assert_eq!(
        kinds,
        [
            0x26, 0x68, 0x26, 0x26, 0x26, 0x6d, 0x6d, 0x6a, 0x6e, 0xaf, 0xa7, 0xe7, 0xa5, 0x28,
            0x29, 0x6f, 0x2a, 0x2b, 0x24, 0x6f
        ]
    );
    let texts = rows(
        &mut client,
        "select d, c + '|', n, convert(nvarchar(40), z), convert(nvarchar(40), w, 121), \
         convert(nvarchar(40), u), convert(nvarchar(40), o), convert(nvarchar(40), q), g \
         from kinds",
    )
    .await?;
    assert_eq!(
        texts,
        [
            "12.3457 ab   | ünï 10:11:12.124 2024-02-29 10:11:12.997 2024-02-29 10:11:12.1234567 \
          2024-02-29 10:11:12 +02:00 01020304-0506-0708-090A-0B0C0D0E0F10 9007199254740993"
        ]
    );
    client.ok("insert kinds (b) values (null)").await?;
    assert_eq!(
        rows(&mut client, "select count(*), count(b) from kinds").await?,
        ["2 1"]
    );
    assert_eq!(
        rows(&mut client, "select id from kinds where d is null").await?,
        ["2"]
    );
    Ok(())
}

#[tokio::test]
async fn queries_join_group_and_page() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table a (id int primary key, name nvarchar(20)); \
             create table b (a_id int references a (id), price decimal(9,2))")
        .await?;
    let answer = client
        .ok(
            "insert into a (id, name) values (1, N'One'), (2, N'Two'), (3, N'Three') \
             insert into b select id, id * 1.5 from a where id < 3",
        )
        .await?;
    assert_eq!(answer.dones(), [(0xfd, 0x11, 3), (0xfd, 0x10, 2)]);
    for (sql, expected) in [
        (
            "select top 2 a.id, b.price from a left join b on b.a_id = a.id order by a.id desc",
            vec!["3 -", "2 3.00"],
        ),
        (
            "select count(*) as n, sum(b.price) from a inner join b on a.id = b.a_id",
            vec!["2 4.50"],
        ),
        (
            "select id from a where name = 'one' or name in (N'TWO') order by id",
            vec!["1", "2"],
        ),
        (
            "select id from a order by id offset 1 rows fetch next 1 rows only",
            vec!["2"],
        ),
        (
            "with x as (select id from a where id > 1) select max(id) from x",
            vec!["3"],
        ),
        (
            "select d.n from (select id * 2 as n from a) d where d.n > 2 order by d.n",
            vec!["4", "6"],
        ),
        (
            "select id from a where exists (select 1 from b where b.a_id = a.id) order by id",
            vec!["1", "2"],
        ),
        (
            "select id from a union all select 9 order by id",
            vec!["1", "2", "3", "9"],
        ),
        (
            "select x.k, x.v from (values (1, 'p'), (2, 'q')) as x (k, v)",
            vec!["1 p", "2 q"],
        ),
        (
            "select row_number() over (order by id desc), id from a order by id",
            vec!["3 1", "2 2", "1 3"],
        ),
        (
            "select id from appdb.dbo.a where id = (select max(a_id) from b)",
            vec!["2"],
        ),
        (
            "select distinct a_id % 1 from b group by a_id having count(*) = 1",
            vec!["0"],
        ),
    ] {
        assert_eq!(rows(&mut client, sql).await?, expected, "{sql}");
    }
    let answer = client.ok("update a set name += N'!' where id <= 2").await?;
    assert_eq!(answer.dones(), [(0xfd, 0x10, 2)]);
    client.ok("delete from b where a_id = 1").await?;
    assert_eq!(rows(&mut client, "select @@rowcount").await?, ["1"]);
    let output = rows(
        &mut client,
        "delete a output deleted.id, deleted.name where id = 1",
    )
    .await?;
    assert_eq!(output, ["1 One!"]);
    client.ok("truncate table b drop table b, a").await?;
    assert_eq!(client.batch("select * from a").await?.errors(), [(208, 16)]);
    Ok(())
}

#[tokio::test]
async fn identities_are_counted_and_told() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (id bigint identity primary key, a int)")
        .await?;
    let found = rows(
        &mut client,
        "insert t (a) output inserted.id values (5); insert t values (6); \
         select @@identity, scope_identity(), @@rowcount",
    )
    .await?;
    assert_eq!(found, ["1", "2 2 1"]);
    assert_eq!(
        rows(&mut client, "select @@identity, scope_identity()").await?,
        ["2 -"]
    );
    assert_eq!(
        client
            .batch("insert t (id, a) values (9, 9)")
            .await?
            .errors(),
        [(544, 16)]
    );
    client
        .ok("set identity_insert t on insert t (id, a) values (9, 9) set identity_insert t off")
        .await?;
    client.ok("insert t (a) values (1)").await?;
    assert_eq!(rows(&mut client, "select max(id) from t").await?, ["10"]);
    Ok(())
}

#[tokio::test]
async fn control_flow_runs() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let answer = client
        .ok("declare @i int = 0, @s nvarchar(50) = N'' \
             while @i < 5 begin set @i += 1 if @i = 2 continue if @i = 4 break \
             select @s = @s + cast(@i as nvarchar(5)) end \
             if @s = '13' print 'right' else print 'wrong' \
             select @s, @i")
        .await?;
    assert_eq!(
        answer.rows(),
        [[Some("13".to_owned()), Some("4".to_owned())]]
    );
    let texts: Vec<String> = answer
        .tokens
        .iter()
        .filter_map(|token| match token {
            crate::answer::Token::Info(info) => Some(info.text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["right"]);
    client
        .ok(
            "create procedure dbo.twice @n int, @by int = 2, @out int output as \
             begin set nocount on set @out = @n * @by select @out as doubled return 7 end",
        )
        .await?;
    let answer = client
        .ok("declare @r int, @o int exec @r = twice 4, @out = @o output select @r, @o")
        .await?;
    assert_eq!(
        answer.rows(),
        [
            vec![Some("8".to_owned())],
            vec![Some("7".to_owned()), Some("8".to_owned())]
        ]
    );
    let found = rows(&mut client, "exec('select ' + '1' + '+ 1')").await?;
    assert_eq!(found, ["2"]);
    let named = rows(
        &mut client,
        "declare @o int exec sp_executesql N'select @x = @y + 1', N'@y int, @x int out', \
         @y = 41, @x = @o out select @o",
    )
    .await?;
    assert_eq!(named, ["42"]);
    assert_eq!(client.batch("exec twice").await?.errors(), [(201, 16)]);
    client.ok("drop procedure twice").await?;
    assert_eq!(client.batch("exec twice 1").await?.errors(), [(2812, 16)]);
    Ok(())
}

#[tokio::test]
async fn temporary_tables_are_the_sessions_own() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    let mut other = Client::open(&server, &crate::client::Login::sa()).await?;
    client
        .ok("create table #t (a int) insert #t values (1)")
        .await?;
    client
        .ok("create table ##g (a int) insert ##g values (2)")
        .await?;
    assert_eq!(other.batch("select * from #t").await?.errors(), [(208, 16)]);
    assert_eq!(rows(&mut other, "select a from ##g").await?, ["2"]);
    assert_eq!(
        rows(&mut client, "select #t.a from tempdb..#t").await?,
        ["1"]
    );
    client
        .ok("if object_id('tempdb..#t') is not null drop table #t")
        .await?;
    assert_eq!(
        client.batch("select * from #t").await?.errors(),
        [(208, 16)]
    );
    client.ok("select 1 as a, N'x' as b into #u").await?;
    assert_eq!(rows(&mut client, "select * from #u").await?, ["1 x"]);
    // One made in a procedure or in dynamic SQL ends with it.
    client.ok("exec('create table #inner (a int)')").await?;
    assert_eq!(
        client.batch("select * from #inner").await?.errors(),
        [(208, 16)]
    );
    drop(client);
    for _ in 0..200 {
        if !other.batch("select * from ##g").await?.errors().is_empty() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    anyhow::bail!("##g outlived its session");
}

#[tokio::test]
async fn cursors_walk_their_rows() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int) insert t values (1), (2), (3)")
        .await?;
    client
        .ok("declare c cursor scroll for select a from t order by a open c")
        .await?;
    for (fetch, expected) in [
        ("next", Some("1")),
        ("last", Some("3")),
        ("next", None),
        ("prior", Some("3")),
        ("absolute 2", Some("2")),
        ("relative -1", Some("1")),
        ("first", Some("1")),
    ] {
        let row = client.ok(&format!("fetch {fetch} from c")).await?.rows();
        let value = row.into_iter().next().and_then(|row| row[0].clone());
        assert_eq!(value.as_deref(), expected, "{fetch}");
        let status = if expected.is_some() { "0" } else { "-1" };
        assert_eq!(
            client.value("select @@fetch_status").await?.as_deref(),
            Some(status)
        );
    }
    let sum = rows(
        &mut client,
        "declare @a int, @sum int = 0 fetch first from c into @a \
         while @@fetch_status = 0 begin set @sum += @a fetch next from c into @a end select @sum",
    )
    .await?;
    assert_eq!(sum, ["6"]);
    client.ok("close c deallocate c").await?;
    assert_eq!(client.batch("open c").await?.errors(), [(16_916, 16)]);
    Ok(())
}

#[tokio::test]
async fn bulk_loads_go_into_the_table() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client.ok("create table t (a int, b nvarchar(10))").await?;
    client
        .ok("insert bulk t ([a] int, [b] nvarchar(10)) with (TABLOCK)")
        .await?;
    let mut body = vec![0x81, 2, 0];
    body.extend([0, 0, 0, 0, 1, 0, 0x26, 4, 1]);
    body.extend(utf16("a"));
    body.extend([0, 0, 0, 0, 1, 0, 0xe7, 20, 0, 9, 4, 0xd0, 0, 0x34, 1]);
    body.extend(utf16("b"));
    for number in 0..2000_i32 {
        body.push(0xd1);
        body.push(4);
        body.extend(number.to_le_bytes());
        body.extend([4, 0]);
        body.extend(utf16("xy"));
    }
    body.extend([0xd1, 0, 0xff, 0xff]);
    body.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    client.send(BULK, &body).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.errors(), []);
    assert_eq!(answer.dones(), [(0xfd, 0x10, 2001)]);
    let found = rows(&mut client, "select count(*), sum(a), count(b) from t").await?;
    assert_eq!(found, ["2001 1999000 2000"]);
    // Rows without INSERT BULK.
    client.send(BULK, &body).await?;
    assert_eq!(client.answer().await?.errors(), [(4002, 16)]);
    Ok(())
}
