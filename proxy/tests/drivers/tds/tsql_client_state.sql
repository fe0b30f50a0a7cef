create table #mine (n int)
insert into #mine values (5)
go
select n from #mine
go
drop table #mine
go
select n from #mine
go
exit
