# Rails' ActiveRecord through the sidecar: migrations under their advisory lock, prepared statements,
# many threads. Prints OK, or fails with what differed.
#
# Connection parameters come from libpq's PG* variables; POOL_MODE says what may be expected.

require "active_record"

MODE = ENV.fetch("POOL_MODE")
# In session mode, each open connection has one of two backends.
THREADS = MODE == "session" ? 2 : 8

ActiveRecord::Base.logger = nil
ActiveRecord::Migration.verbose = false
ActiveRecord::Base.establish_connection(
  adapter: "postgresql",
  host: ENV.fetch("PGHOST"),
  port: ENV.fetch("PGPORT"),
  database: ENV.fetch("PGDATABASE"),
  username: ENV.fetch("PGUSER"),
  pool: THREADS,
  # A session-level lock means nothing with PgBouncer's rules.
  advisory_locks: MODE != "transaction",
  variables: MODE == "transaction" ? {} : { statement_timeout: "60s" }
)

class CreateAuthors < ActiveRecord::Migration[6.1]
  def change
    create_table :authors do |t|
      t.string :name, null: false, index: { unique: true }
      t.jsonb :facts, default: {}
      t.timestamps
    end
  end
end

class CreateBooks < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!

  def change
    create_table :books do |t|
      t.references :author, foreign_key: true
      t.string :title
    end
    add_index :books, :title, algorithm: :concurrently
  end
end

class Author < ActiveRecord::Base
  has_many :books
end

class Book < ActiveRecord::Base
  belongs_to :author
end

def expect(what, found, wanted)
  raise "#{what}: #{found.inspect}, expected #{wanted.inspect}" unless found == wanted
end

# In session mode, an open connection holds a backend, also one that waits in the pool.
def let_go
  ActiveRecord::Base.connection_handler.clear_all_connections!
end

def migrate(direction)
  let_go
  migrations = [CreateAuthors.new("CreateAuthors", 1), CreateBooks.new("CreateBooks", 2)]
  ActiveRecord::Migrator.new(direction, migrations, ActiveRecord::SchemaMigration).migrate
  let_go
end

ActiveRecord::SchemaMigration.create_table
migrate(:up)
# The second time there is nothing to do, and the lock is free again.
migrate(:up)
expect("tables", ActiveRecord::Base.connection.tables.sort & %w[authors books], %w[authors books])

ada = Author.create!(name: "Ada", facts: { born: 1815 })
100.times { |n| ada.books.create!(title: format("Ada %03d", n)) }
expect("a value in JSON", Author.find_by!(name: "Ada").facts["born"], 1815)
expect("an order", ada.books.order(:title).limit(2).pluck(:title), ["Ada 000", "Ada 001"])
begin
  Author.create!(name: "Ada")
  raise "a second Ada was let in"
rescue ActiveRecord::RecordNotUnique
  nil
end
Author.transaction do
  Author.create!(name: "Grace")
  raise ActiveRecord::Rollback
end
expect("names after a rollback", Author.pluck(:name), ["Ada"])
Author.transaction do
  Author.create!(name: "Grace")
  Author.transaction(requires_new: true) do
    Author.create!(name: "Edsger")
    raise ActiveRecord::Rollback
  end
end
expect("names after a savepoint", Author.order(:name).pluck(:name), %w[Ada Grace])
expect("rows in batches", Book.find_each(batch_size: 30).count, 100)

let_go
# Each thread has a connection, and prepared statements of its own on it.
threads = Array.new(THREADS) do |n|
  Thread.new do
    ActiveRecord::Base.connection_pool.with_connection do |connection|
      50.times do |turn|
        found = Book.where(title: format("Ada %03d", (n * 7 + turn) % 100)).pick(:title)
        expect("a title", found, format("Ada %03d", (n * 7 + turn) % 100))
        next if MODE == "transaction"

        expect("a setting", connection.select_value("show statement_timeout"), "1min")
      end
    end
  end
end
threads.each(&:value)
migrate(:down)
expect("tables that are left", ActiveRecord::Base.connection.tables & %w[authors books], [])
puts "OK"
