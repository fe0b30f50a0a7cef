create table #mine (n int)
insert into #mine values (5)
go
select n from #mine
go
drop table #mine
go
select n from #mine
go
print 'printed'
set datefirst 2
go
select @@datefirst as datefirst
go
exit
