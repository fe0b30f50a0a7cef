//! What calls of procedures leave behind, by their names.

use crate::tds::effect::Effects;

/// What a call may leave; `name` is the last part of its name, in lower case.
pub(in crate::tds) fn effects(name: &[u8]) -> Effects {
    match name {
        b"sp_setapprole" | b"sp_unsetapprole" | b"sp_bindsession" => Effects::TAINTED,
        b"sp_getapplock" => Effects::APP_LOCK,
        b"sp_releaseapplock" => Effects::RELEASE,
        b"sp_set_session_context" => Effects::SESSION_CONTEXT,
        b"sp_xml_preparedocument" | b"sp_xml_removedocument" => Effects::HANDLE,
        b"sp_prepare" | b"sp_prepexec" | b"sp_prepexecrpc" | b"sp_unprepare" | b"sp_execute" => {
            Effects::PREPARED.with(Effects::ADVANCE)
        }
        _ if name.starts_with(b"sp_oa") => Effects::HANDLE,
        _ if name.starts_with(b"sp_cursor") => Effects::CURSOR,
        _ if name.starts_with(b"#") => Effects::TEMP_TABLE
            .with(Effects::CODE)
            .with(Effects::ADVANCE),
        _ if HARMLESS.binary_search(&name).is_ok() => Effects::default(),
        _ => Effects::CODE.with(Effects::ADVANCE),
    }
}

/// Procedures that only tell something, sorted.
#[rustfmt::skip]
const HARMLESS: &[&[u8]] = &[
    b"sp_catalogs", b"sp_column_privileges", b"sp_columns", b"sp_columns_100", b"sp_databases",
    b"sp_datatype_info", b"sp_datatype_info_100", b"sp_datatype_info_90",
    b"sp_describe_cursor", b"sp_describe_first_result_set", b"sp_describe_parameter_encryption",
    b"sp_describe_undeclared_parameters", b"sp_fkeys", b"sp_help", b"sp_helpconstraint",
    b"sp_helpdb", b"sp_helpindex", b"sp_helptext", b"sp_lock", b"sp_pkeys",
    b"sp_server_info", b"sp_special_columns", b"sp_special_columns_100", b"sp_sproc_columns",
    b"sp_sproc_columns_100", b"sp_statistics", b"sp_statistics_100", b"sp_stored_procedures",
    b"sp_table_privileges", b"sp_tables", b"sp_who", b"sp_who2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(HARMLESS.is_sorted_by(|one, other| one < other));
    }
}
