create table tsql_account_@RUN@ (id int primary key, balance money null, name nvarchar(40))
insert into tsql_account_@RUN@ values (1, 10.5, N'Grüße'), (2, null, N'Привет')
go
select id, balance, name from tsql_account_@RUN@ order by id
go
begin transaction
go
update tsql_account_@RUN@ set balance = 0
go
save transaction here
delete from tsql_account_@RUN@
rollback transaction here
go
select count(*) as n, @@trancount as open_ones from tsql_account_@RUN@
go
rollback
go
select balance from tsql_account_@RUN@ where id = 1
go
insert into tsql_account_@RUN@ values (1, 1, 'again')
go
select * from nowhere_at_all
go
select 1 as a
select 'two' as b, 2 as c
go
print 'printed'
go
set datefirst 3
go
select @@datefirst as datefirst, @@language as language
go
drop table tsql_account_@RUN@
go
exit
