//! What calls of PostgreSQL's own functions leave behind.

use crate::postgres::effect::Effects;

/// What a function is to a session.
pub(super) enum Function {
    /// Leaves nothing: a function of PostgreSQL's, or a keyword that a parenthesis follows.
    Harmless,
    /// Leaves this.
    Leaves(Effects),
    /// `set_config`: its arguments say what.
    SetConfig,
    /// Somebody's own.
    Unknown,
}

/// Looks up an unqualified name in lower case.
pub(super) fn function(name: &[u8]) -> Function {
    match name {
        b"set_config" => Function::SetConfig,
        b"nextval" | b"setval" => Function::Leaves(Effects::ADVANCE),
        b"currval" | b"lastval" => {
            Function::Leaves(Effects::SEQUENCE.with(Effects::RECALL).with(Effects::STATE))
        }
        b"setseed" => Function::Leaves(Effects::HIDDEN.with(Effects::STATE)),
        _ if is_lock(name) => match ends_with_transaction(name) {
            true => Function::Harmless,
            false if name.starts_with(b"pg_advisory_unlock") => Function::Leaves(Effects::LOCK),
            false => Function::Leaves(Effects::LOCK.with(Effects::STATE)),
        },
        _ if HARMLESS.binary_search(&name).is_ok() => Function::Harmless,
        _ => Function::Unknown,
    }
}

/// `pg_advisory_lock` and its kin.
fn is_lock(name: &[u8]) -> bool {
    name.starts_with(b"pg_advisory_") || name.starts_with(b"pg_try_advisory_")
}

fn ends_with_transaction(name: &[u8]) -> bool {
    name.windows(6).any(|part| part == b"_xact_")
}

/// Keywords, types and functions, sorted. What is missing costs a question to the server, no
/// more; what can run other code (`query_to_xml`, `ts_stat`) must not be here.
#[rustfmt::skip]
const HARMLESS: &[&[u8]] = &[
    b"abs", b"acos", b"age", b"all", b"and", b"any", b"any_value", b"array", b"array_agg",
    b"array_append", b"array_cat", b"array_dims", b"array_fill", b"array_length", b"array_lower",
    b"array_ndims", b"array_position", b"array_positions", b"array_prepend", b"array_remove",
    b"array_replace", b"array_to_json", b"array_to_string", b"array_upper", b"ascii", b"asin",
    b"atan", b"atan2", b"avg", b"between", b"bigint", b"bit", b"bit_and", b"bit_length", b"bit_or",
    b"bool_and", b"bool_or", b"btrim", b"by", b"bytea", b"cardinality", b"case", b"cast", b"cbrt",
    b"ceil", b"ceiling", b"char", b"char_length", b"character", b"character_length", b"chr",
    b"clock_timestamp", b"coalesce", b"col_description", b"collate", b"concat", b"concat_ws",
    b"conflict", b"convert_from", b"convert_to", b"corr", b"cos", b"count", b"cube", b"cume_dist",
    b"current_database", b"current_date", b"current_schema", b"current_schemas",
    b"current_setting", b"current_time", b"current_timestamp", b"current_user", b"date",
    b"date_bin", b"date_part", b"date_trunc", b"decimal", b"decode", b"default", b"degrees",
    b"dense_rank", b"distinct", b"div", b"else", b"encode", b"enum_first", b"enum_last",
    b"enum_range", b"every", b"except", b"exists", b"exp", b"extract", b"filter", b"first_value",
    b"float", b"float4", b"float8", b"floor", b"format", b"format_type", b"from", b"gcd",
    b"gen_random_uuid", b"generate_series", b"generate_subscripts", b"get_bit", b"get_byte",
    b"greatest", b"group", b"grouping", b"has_schema_privilege", b"has_table_privilege",
    b"having", b"ilike", b"in", b"initcap", b"int", b"int2", b"int4", b"int8", b"integer",
    b"intersect", b"interval", b"is", b"isfinite", b"join", b"json_agg", b"json_array_elements",
    b"json_array_elements_text", b"json_array_length", b"json_build_array", b"json_build_object",
    b"json_each", b"json_each_text", b"json_extract_path", b"json_extract_path_text",
    b"json_object", b"json_object_agg", b"json_object_keys", b"json_populate_record",
    b"json_strip_nulls", b"json_to_record", b"json_to_recordset", b"json_typeof", b"jsonb_agg",
    b"jsonb_array_elements", b"jsonb_array_elements_text", b"jsonb_array_length",
    b"jsonb_build_array", b"jsonb_build_object", b"jsonb_each", b"jsonb_each_text",
    b"jsonb_extract_path", b"jsonb_extract_path_text", b"jsonb_insert", b"jsonb_object",
    b"jsonb_object_agg", b"jsonb_object_keys", b"jsonb_path_exists", b"jsonb_path_query",
    b"jsonb_path_query_array", b"jsonb_path_query_first", b"jsonb_populate_record",
    b"jsonb_pretty", b"jsonb_set", b"jsonb_strip_nulls", b"jsonb_to_record",
    b"jsonb_to_recordset", b"jsonb_typeof", b"justify_days", b"justify_hours",
    b"justify_interval", b"key", b"lag", b"last_value", b"lateral", b"lcm", b"lead", b"least",
    b"left", b"length", b"like", b"limit", b"ln", b"localtime", b"localtimestamp", b"log",
    b"log10", b"lower", b"lower_inc", b"lpad", b"ltrim", b"make_date", b"make_interval",
    b"make_time", b"make_timestamp", b"make_timestamptz", b"materialized", b"max", b"md5", b"min",
    b"mod", b"mode", b"not", b"now", b"nth_value", b"ntile", b"nullif", b"num_nonnulls",
    b"num_nulls", b"numeric", b"obj_description", b"octet_length", b"offset", b"or", b"order",
    b"over", b"overlaps", b"overlay", b"parse_ident", b"partition", b"percent_rank",
    b"percentile_cont", b"percentile_disc", b"pg_backend_pid", b"pg_cancel_backend",
    b"pg_column_size", b"pg_current_wal_lsn", b"pg_database_size", b"pg_encoding_to_char",
    b"pg_get_constraintdef", b"pg_get_expr", b"pg_get_functiondef", b"pg_get_indexdef",
    b"pg_get_serial_sequence", b"pg_get_userbyid", b"pg_get_viewdef", b"pg_indexes_size",
    b"pg_is_in_recovery", b"pg_my_temp_schema", b"pg_notify", b"pg_opclass_is_visible",
    b"pg_postmaster_start_time", b"pg_relation_size", b"pg_size_pretty", b"pg_sleep",
    b"pg_table_is_visible", b"pg_table_size", b"pg_terminate_backend", b"pg_total_relation_size",
    b"pg_type_is_visible", b"pg_typeof", b"pi", b"position", b"power", b"quote_ident",
    b"quote_literal", b"quote_nullable", b"radians", b"random", b"range_agg", b"rank",
    b"regexp_count", b"regexp_like", b"regexp_match", b"regexp_matches", b"regexp_replace",
    b"regexp_split_to_array", b"regexp_split_to_table", b"regexp_substr", b"repeat", b"replace",
    b"returning", b"reverse", b"right", b"rollup", b"round", b"row", b"row_number",
    b"row_to_json", b"rpad", b"rtrim", b"select", b"session_user", b"set", b"sets", b"sha256",
    b"sha512", b"shobj_description", b"sign", b"similar", b"sin", b"some", b"split_part",
    b"sqrt", b"starts_with", b"statement_timestamp", b"stddev", b"stddev_pop", b"stddev_samp",
    b"string_agg", b"string_to_array", b"string_to_table", b"strpos", b"substr", b"substring",
    b"sum", b"symmetric", b"tan", b"then", b"time", b"timestamp", b"timestamptz", b"timezone",
    b"to_ascii", b"to_char", b"to_date", b"to_hex", b"to_json", b"to_jsonb", b"to_number",
    b"to_regclass", b"to_regtype", b"to_timestamp", b"to_tsquery", b"to_tsvector",
    b"transaction_timestamp", b"translate", b"trim", b"trim_array", b"trunc", b"ts_headline",
    b"ts_rank", b"ts_rank_cd", b"txid_current", b"union", b"unique", b"unnest", b"upper",
    b"upper_inc", b"using", b"uuid", b"values", b"var_pop", b"var_samp", b"varchar", b"variance",
    b"varying", b"version", b"websearch_to_tsquery", b"when", b"where", b"width_bucket", b"window",
    b"with", b"within", b"xmin",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(HARMLESS.is_sorted_by(|one, other| one < other));
    }
}
