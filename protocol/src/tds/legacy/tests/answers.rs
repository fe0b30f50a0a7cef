use super::*;
use crate::tds::packet::{self, HEADER, Kind, LAST};
use crate::tds::reader::{counted_u16, push_b_text, push_us_text};
use crate::tds::token::{COLMETADATA, ENVCHANGE, ERROR, NBCROW, RETURNVALUE, ROW, TABNAME};

/// What a message of the server becomes, in its packets.
fn answered(dialect: Dialect, limit: usize, body: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut wire = Vec::new();
    packet::split(&mut wire, Kind::Answer, 0, SIZE, body);
    let mut answers = Answers::new(dialect, SIZE).with_limit(limit);
    let mut out = Vec::new();
    answers.translate(&wire, &mut out)?;
    Ok(out)
}

/// What a message becomes, without its packets, however it is cut.
fn answer(dialect: Dialect, body: &[u8]) -> Vec<u8> {
    let whole = answered(dialect, LARGEST_VALUE, body).expect("it can be translated");
    let whole = packet::whole(&whole, 1 << 20).unwrap().unwrap().body;
    for room in [1, 2, 3, 7, 50] {
        let mut wire = Vec::new();
        let parts: Vec<_> = body.chunks(room).collect();
        for (at, part) in parts.iter().enumerate() {
            let last = if at + 1 == parts.len() { LAST } else { 0 };
            let length = u16::try_from(part.len() + HEADER).unwrap();
            wire.extend(packet::header(Kind::Answer, last, length, 1));
            wire.extend(*part);
        }
        let mut out = Vec::new();
        let mut answers = Answers::new(dialect, SIZE);
        answers.translate(&wire, &mut out).unwrap();
        let cut = packet::whole(&out, 1 << 20).unwrap().unwrap().body;
        assert_eq!(cut, whole, "in pieces of {room}");
    }
    whole
}

/// COLMETADATA of 7.4 with these types, in columns without names.
fn columns(types: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![COLMETADATA];
    out.extend(u16::try_from(types.len()).unwrap().to_le_bytes());
    for info in types {
        out.extend([0, 0, 0, 0, 9, 0x0c]);
        out.extend(*info);
        out.push(0);
    }
    out
}

/// The same as 7.1 has it.
fn narrow_columns(types: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![COLMETADATA];
    out.extend(u16::try_from(types.len()).unwrap().to_le_bytes());
    for info in types {
        out.extend([0, 0, 9, 0]);
        out.extend(*info);
        out.push(0);
    }
    out
}

const NVARCHAR_MAX: &[u8] = &[0xe7, 0xff, 0xff, 0x09, 0x04, 0xd0, 0x00, 0x34];

/// A value in chunks of these bytes; without its length if `known` is not given.
fn chunked(known: Option<u64>, chunks: &[&[u8]]) -> Vec<u8> {
    let mut out = known.unwrap_or(u64::MAX - 1).to_le_bytes().to_vec();
    for chunk in chunks {
        out.extend(u32::try_from(chunk.len()).unwrap().to_le_bytes());
        out.extend(*chunk);
    }
    out.extend([0; 4]);
    out
}

#[test]
fn counts_lines_and_user_types_are_shorter_in_7_1() {
    let mut body = vec![ERROR];
    let said = |out: &mut Vec<u8>, line: &[u8]| {
        out.extend(208_i32.to_le_bytes());
        out.extend([1, 16]);
        push_us_text(out, "no", 10);
        push_b_text(out, "srv");
        push_b_text(out, "");
        out.extend(line);
    };
    counted_u16(&mut body, |out| said(out, &70_000_u32.to_le_bytes()));
    body.extend(columns(&[INT]));
    body.extend([ROW, 4, 7, 0, 0, 0]);
    body.extend(wide_done(Done::COUNT, u64::MAX));
    let mut expected = vec![ERROR];
    counted_u16(&mut expected, |out| said(out, &[0xff, 0xff]));
    expected.extend(narrow_columns(&[INT]));
    expected.extend([ROW, 4, 7, 0, 0, 0]);
    expected.extend(narrow_done(Done::COUNT, u32::MAX));
    assert_eq!(answer(Dialect::V71Revised, &body), expected);
    // 7.2 has all that but the flags of 7.4.
    let as_it_is = answer(Dialect::V72, &body);
    let mut flags = body.clone();
    let at = body.len() - 13 - 6 - 1 - 2 - 1;
    flags[at] = 0;
    assert_eq!(as_it_is, flags);
}

#[test]
fn changes_of_later_versions_are_not_told_to_7_1() {
    let begin = [ENVCHANGE, 11, 0, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    let reset = [ENVCHANGE, 3, 0, 18, 0, 0];
    let promoted = [ENVCHANGE, 1, 0, 15, 2, 0, 0, 0, 9, 9, 0];
    let database = [ENVCHANGE, 7, 0, 1, 1, b'a', 0, 1, b'b', 0];
    let state = [0xe4, 5, 0, 0, 0, 0, 0, 0, 0, 1];
    let features = [0xae, 1, 2, 0, 0, 0, 7, 7, 0xff];
    let body = parts(&[
        &begin,
        &reset,
        &promoted,
        &database,
        &state,
        &features,
        &wide_done(0, 0),
    ]);
    let narrow = parts(&[&database, &narrow_done(0, 0)]);
    assert_eq!(answer(Dialect::V71, &body), narrow);
    let wide = parts(&[&begin, &reset, &promoted, &database, &wide_done(0, 0)]);
    assert_eq!(answer(Dialect::V72, &body), wide);
}

#[test]
fn values_without_a_limit_become_text_ntext_and_image() {
    let varchar = parts(&[&[0xa7, 0xff, 0xff], &COLLATION]);
    let varbinary = [0xa5, 0xff, 0xff];
    let xml = [0xf1, 0];
    let udt = parts(&[&[0xf0, 0xff, 0xff], &[0; 5]]);
    let types: [&[u8]; 6] = [&varchar, NVARCHAR_MAX, &varbinary, &xml, &udt, &[0xf4]];
    let null = [0xff; 8];
    let body = parts(&[
        &columns(&types),
        &[ROW],
        &chunked(Some(3), &[b"abc"]),
        &chunked(None, &[&utf16("x"), &utf16("yz")]),
        &chunked(Some(0), &[]),
        &chunked(None, &[&[0xff, 0xfe], &utf16("<a/>")]),
        &chunked(Some(2), &[&[1], &[2]]),
        &chunked(None, &["é".as_bytes()]),
        &[ROW],
        &null.repeat(6),
        &wide_done(Done::COUNT, 2),
    ]);
    let text = parts(&[&[0x23, 0xff, 0xff, 0xff, 0x7f], &COLLATION, &[0; 2]]);
    let ntext = parts(&[&[0x63, 0xfe, 0xff, 0xff, 0x7f], &COLLATION, &[0; 2]]);
    let image = parts(&[&[0x22, 0xff, 0xff, 0xff, 0x7f], &[0; 2]]);
    let expected = parts(&[
        &narrow_columns(&[&text, &ntext, &image, &ntext, &image, &ntext]),
        &[ROW],
        &text_value(b"abc"),
        &text_value(&utf16("xyz")),
        &text_value(b""),
        &text_value(&utf16("<a/>")),
        &text_value(&[1, 2]),
        &text_value(&utf16("é")),
        &[ROW],
        &[0; 6],
        &narrow_done(Done::COUNT, 2),
    ]);
    assert_eq!(answer(Dialect::V71, &body), expected);
}

#[test]
fn what_7_2_knows_stays_in_chunks() {
    let udt = parts(&[&[0xf0, 0xff, 0xff], &[0; 5]]);
    let types: [&[u8]; 4] = [NVARCHAR_MAX, &[0xf1, 0], &udt, &[0xf4]];
    let same = [
        chunked(Some(2), &[&utf16("x")]),
        chunked(None, &[&[0xff, 0xfe], &utf16("<a/>")]),
        [0xff; 8].to_vec(),
    ]
    .concat();
    let body = parts(&[
        &columns(&types),
        &[ROW],
        &same,
        &chunked(None, &["é".as_bytes(), b"!"]),
        &[ROW],
        &[0xff; 24],
        &chunked(None, &[]),
        &wide_done(0, 0),
    ]);
    let json: &[u8] = NVARCHAR_MAX;
    let mut head = columns(&[NVARCHAR_MAX, &[0xf1, 0], &[0xa5, 0xff, 0xff], json]);
    for at in 0..head.len() - 1 {
        if head[at] == 9 && head[at + 1] == 0x0c {
            head[at + 1] = 0;
        }
    }
    let expected = parts(&[
        &head,
        &[ROW],
        &same,
        &chunked(Some(4), &[&utf16("é!")]),
        &[ROW],
        &[0xff; 24],
        &chunked(Some(0), &[]),
        &wide_done(0, 0),
    ]);
    assert_eq!(answer(Dialect::V72, &body), expected);
}

#[test]
fn dates_become_text_unless_they_are_known() {
    let types: [&[u8]; 5] = [
        &[0x28],
        &[0x29, 0],
        &[0x2a, 3],
        &[0x2b, 7],
        &[0x62, 0x49, 0x1f, 0, 0],
    ];
    let day = [0xa6, 0x43, 0x0b];
    let body = parts(&[
        &columns(&types),
        &[ROW, 3],
        &day,
        &[3, 0x7f, 0x51, 1],
        &[7, 1, 0, 0, 0],
        &day,
        &[10, 1, 0, 0, 0, 0],
        &day,
        &330_i16.to_le_bytes(),
        &[5, 0, 0, 0, 0x28, 0],
        &day,
        &[ROW, 0, 0, 0, 0, 0, 0, 0, 0],
        &[ROW, 0, 0, 0, 0, 6, 0, 0, 0, 0x38, 0, 7, 0, 0, 0],
        &wide_done(0, 0),
    ]);
    let nvarchar = |units: u8| parts(&[&[0xe7, 2 * units, 0], &COLLATION]);
    let value = |text: &str| {
        let length = u16::try_from(2 * text.len()).unwrap().to_le_bytes();
        parts(&[&length, &utf16(text)])
    };
    let types = [nvarchar(10), nvarchar(8), nvarchar(23), nvarchar(34)];
    let types: Vec<&[u8]> = types.iter().map(Vec::as_slice).collect();
    let expected = parts(&[
        &narrow_columns(&[
            types[0],
            types[1],
            types[2],
            types[3],
            &[0x62, 0x49, 0x1f, 0, 0],
        ]),
        &[ROW],
        &value("2022-03-01"),
        &value("23:59:59"),
        &value("2022-03-01 00:00:00.001"),
        &value("2022-03-01 05:30:00.0000001 +05:30"),
        &[29, 0, 0, 0, 0xe7, 7],
        &COLLATION,
        &[20, 0],
        &utf16("2022-03-01"),
        &[ROW],
        &[0xff; 8],
        &[0; 4],
        &[ROW],
        &[0xff; 8],
        &[6, 0, 0, 0, 0x38, 0, 7, 0, 0, 0],
        &narrow_done(0, 0),
    ]);
    assert_eq!(answer(Dialect::V71, &body), expected);
    let known = answer(Dialect::V73A, &body);
    assert_eq!(known.len(), body.len());
    assert!(
        known
            .windows(4)
            .any(|part| part == [ROW, 3, day[0], day[1]])
    );
}

#[test]
fn rows_have_their_nulls_in_place() {
    let varchar = parts(&[&[0xa7, 10, 0], &COLLATION]);
    let text = parts(&[&[0x23, 0xff, 0xff, 0xff, 0x7f], &COLLATION, &[0]]);
    let variant: &[u8] = &[0x62, 0x49, 0x1f, 0, 0];
    let types: [&[u8]; 9] = [
        INT,
        &varchar,
        NVARCHAR_MAX,
        &text,
        variant,
        &[0x28],
        INT,
        INT,
        INT,
    ];
    let body = parts(&[
        &columns(&types),
        &[NBCROW, 0x3f, 0x01, 4, 1, 0, 0, 0, 4, 2, 0, 0, 0],
        &wide_done(0, 0),
    ]);
    for dialect in [Dialect::V71, Dialect::V72, Dialect::V73A] {
        let rows = answer(dialect, &body);
        let nulls: &[u8] = match dialect {
            Dialect::V71 => &[ROW, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            Dialect::V72 => &[
                ROW, 0, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0xff,
                0xff,
            ],
            _ => &[
                ROW, 0, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0,
            ],
        };
        let row = parts(&[nulls, &[4, 1, 0, 0, 0, 4, 2, 0, 0, 0, 0]]);
        let found = rows.windows(row.len()).any(|part| part == row);
        assert!(found, "{dialect:?}: {rows:x?}");
    }
    let fixed = parts(&[&columns(&[&[0x38]]), &[NBCROW, 1], &wide_done(0, 0)]);
    assert!(answered(Dialect::V72, 100, &fixed).is_err());
}

#[test]
fn names_of_tables_are_in_one_piece_in_7_1() {
    let mut table = vec![2];
    push_us_text(&mut table, "dbo", 10);
    push_us_text(&mut table, "t", 10);
    let text = parts(&[&[0x23, 0xff, 0xff, 0xff, 0x7f], &COLLATION]);
    let mut joined = Vec::new();
    push_us_text(&mut joined, "dbo.t", 10);
    let mut names = vec![TABNAME];
    counted_u16(&mut names, |out| out.extend(&table));
    let body = parts(&[
        &columns(&[&parts(&[&text, &table])]),
        &names,
        &wide_done(0, 0),
    ]);
    let mut joined_names = vec![TABNAME];
    counted_u16(&mut joined_names, |out| out.extend(&joined));
    let head = narrow_columns(&[&parts(&[&text, &joined])]);
    let old = parts(&[&head, &joined_names, &narrow_done(0, 0)]);
    assert_eq!(answer(Dialect::V71, &body), old);
    let revised = parts(&[&head, &names, &narrow_done(0, 0)]);
    assert_eq!(answer(Dialect::V71Revised, &body), revised);
}

#[test]
fn parameters_come_back_in_types_that_7_1_has() {
    let head = |user_type: &[u8]| parts(&[&[RETURNVALUE, 0, 0, 1, b'@', 0, 1], user_type, &[0, 0]]);
    let body = parts(&[
        &head(&[0; 4]),
        &[0x26, 4, 4, 9, 0, 0, 0],
        &head(&[0; 4]),
        NVARCHAR_MAX,
        &chunked(None, &[&utf16("ab")]),
        &head(&[0; 4]),
        &[0x28, 0],
        &head(&[0; 4]),
        NVARCHAR_MAX,
        &[0xff; 8],
        &wide_done(0, 0),
    ]);
    let nvarchar = parts(&[&[0xe7, 0x40, 0x1f], &COLLATION]);
    let expected = parts(&[
        &head(&[0; 2]),
        &[0x26, 4, 4, 9, 0, 0, 0],
        &head(&[0; 2]),
        &nvarchar,
        &[4, 0],
        &utf16("ab"),
        &head(&[0; 2]),
        &[0xe7, 20, 0],
        &COLLATION,
        &[0xff, 0xff],
        &head(&[0; 2]),
        &nvarchar,
        &[0xff, 0xff],
        &narrow_done(0, 0),
    ]);
    assert_eq!(answer(Dialect::V71, &body), expected);
    let long = parts(&[
        &head(&[0; 4]),
        NVARCHAR_MAX,
        &chunked(Some(8002), &[&[b'x'; 8002]]),
        &wide_done(0, 0),
    ]);
    let refused = answer(Dialect::V71, &long);
    assert_eq!(refused.first(), Some(&ERROR));
    assert!(refused.ends_with(&narrow_done(Done::ERROR, 0)));
}

#[test]
fn a_value_that_is_too_large_is_an_error_and_no_null() {
    let row = |length: usize| parts(&[&[ROW, 0], &chunked(None, &[&vec![b'x'; length]])]);
    let body = parts(&[
        &columns(&[INT, NVARCHAR_MAX]),
        &row(100),
        &row(2000),
        &row(50),
        &wide_done(Done::COUNT | Done::MORE, 3),
        &columns(&[INT, NVARCHAR_MAX]),
        &row(60),
        &wide_done(0, 0),
    ]);
    let out = answered(Dialect::V71, 1000, &body).unwrap();
    let out = packet::whole(&out, 1 << 20).unwrap().unwrap().body;
    let value = |length: usize| parts(&[&[ROW, 0], &text_value(&vec![b'x'; length])]);
    let types = [
        INT,
        &parts(&[&[0x63, 0xfe, 0xff, 0xff, 0x7f], &COLLATION, &[0; 2]]),
    ];
    let before = parts(&[&narrow_columns(&types), &value(100), &[ERROR]]);
    assert!(out.starts_with(&before), "{out:x?}");
    let behind = parts(&[
        &narrow_done(Done::COUNT | Done::MORE | Done::ERROR, 3),
        &narrow_columns(&types),
        &value(60),
        &narrow_done(0, 0),
    ]);
    assert!(out.ends_with(&behind));
    assert_eq!(out.iter().filter(|&&byte| byte == ROW).count(), 2);
}

#[test]
fn long_values_of_known_length_pass_without_waiting() {
    let data = vec![b'x'; 400_000];
    let chunks: Vec<&[u8]> = data.chunks(5000).collect();
    let body = parts(&[
        &columns(&[NVARCHAR_MAX, INT, NVARCHAR_MAX]),
        &[ROW],
        &chunked(Some(400_000), &chunks),
        &[0],
        &chunked(None, &[&[b'y'; 90]]),
        &wide_done(0, 0),
    ]);
    let mut wire = Vec::new();
    packet::split(&mut wire, Kind::Answer, 0, SIZE, &body);
    let mut answers = Answers::new(Dialect::V71, SIZE).with_limit(1000);
    let mut out = Vec::new();
    let half = wire.len() / 2 / SIZE * SIZE;
    answers.translate(&wire[..half], &mut out).unwrap();
    assert!(out.len() < 100, "a row of less than 256 KiB waits");
    answers
        .translate(&wire[half..wire.len() / SIZE * SIZE], &mut out)
        .unwrap();
    assert!(out.len() > 390_000);
    answers
        .translate(&wire[wire.len() / SIZE * SIZE..], &mut out)
        .unwrap();
    let out = packet::whole(&out, 1 << 20).unwrap().unwrap().body;
    let row = parts(&[&[ROW], &text_value(&data), &[0], &text_value(&[b'y'; 90])]);
    assert!(out.ends_with(&parts(&[&row, &narrow_done(0, 0)])));
    // One that is too large, in a row of which a part was sent, can't be taken back.
    let late = parts(&[
        &columns(&[NVARCHAR_MAX, NVARCHAR_MAX]),
        &[ROW],
        &chunked(Some(400_000), &chunks),
        &chunked(None, &[&[b'y'; 2000]]),
        &wide_done(0, 0),
    ]);
    assert!(matches!(
        answered(Dialect::V71, 1000, &late),
        Err(Violation::TooLarge { limit: 1000, .. })
    ));
    // And lengths are no lies.
    for wrong in [399_999, 400_001] {
        let lie = parts(&[
            &columns(&[NVARCHAR_MAX]),
            &[ROW],
            &chunked(Some(wrong), &chunks),
            &wide_done(0, 0),
        ]);
        assert!(answered(Dialect::V71, 1000, &lie).is_err(), "{wrong}");
    }
}

#[test]
fn what_can_t_be_translated_ends_the_session() {
    for bad in [
        &[0xd3][..],
        &[0x88],
        &[ROW, 1],
        &[COLMETADATA, 1, 0, 0, 0, 0, 0, 0, 0, 0xf5, 0, 0, 0, 0],
        &[COLMETADATA, 1, 0, 0, 0, 0, 0, 0, 0, 0x29, 8, 0],
        &[DONE, 0, 0],
        &[
            COLMETADATA,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0x28,
            0,
            ROW,
            3,
            0xff,
            0xff,
            0xff,
        ],
    ] {
        assert!(answered(Dialect::V71, 1000, bad).is_err(), "{bad:x?}");
    }
}

proptest::proptest! {
    /// Tokens in any order, in packets of any length.
    #[test]
    fn cuts_mean_nothing(
        picks in proptest::collection::vec(0_usize..8, 0..30),
        rooms in proptest::collection::vec(1_usize..400, 1..6),
        dialect in 0_usize..4,
    ) {
        let dialects = [Dialect::V71, Dialect::V71Revised, Dialect::V72, Dialect::V73A];
        let types = [INT, NVARCHAR_MAX, &[0x2a, 7], NVARCHAR_MAX];
        let day = [0xa6, 0x43, 0x0b];
        let known = parts(&[&chunked(Some(600), &[&[b'x'; 600]]), &[0]]);
        let unknown = chunked(None, &[&[b'y'; 300], &[b'z'; 350]]);
        let short = chunked(None, &[b"ab"]);
        let tokens = [
            columns(&types),
            parts(&[&[ROW, 0], &known, &short]),
            parts(&[&[ROW, 4, 1, 2, 3, 4], &short, &[8, 1, 0, 0, 0, 0], &day, &unknown]),
            vec![NBCROW, 0x0f],
            wide_done(Done::COUNT | Done::MORE, 3),
            vec![ENVCHANGE, 3, 0, 18, 0, 0],
            vec![0x79, 1, 0, 0, 0],
            vec![0xa9, 2, 0, 1, 0],
        ];
        let picked = picks.iter().map(|&pick| tokens[pick].as_slice());
        let body = parts(&[&columns(&types), &picked.collect::<Vec<_>>().concat(), &wide_done(0, 0)]);
        let translate = |rooms: &[usize]| {
            let mut answers = Answers::new(dialects[dialect], SIZE).with_limit(600);
            let (mut out, mut rest) = (Vec::new(), body.as_slice());
            for room in rooms.iter().cycle() {
                let (part, behind) = rest.split_at((*room).min(rest.len()));
                rest = behind;
                let last = if rest.is_empty() { LAST } else { 0 };
                let length = u16::try_from(part.len() + HEADER).unwrap();
                let mut wire = packet::header(Kind::Answer, last, length, 1).to_vec();
                wire.extend(part);
                answers.translate(&wire, &mut out).unwrap();
                if last == LAST {
                    break;
                }
            }
            packet::whole(&out, 1 << 20).unwrap().unwrap().body
        };
        let whole = translate(&[30_000]);
        proptest::prop_assert_eq!(translate(&rooms), whole.as_slice());
        let refused = whole.windows(9).any(|part| part.starts_with(&[ERROR]) && part[7] == 1 && part[8] == 16);
        let expected = dialect < 2 && picks.contains(&2);
        proptest::prop_assert_eq!(refused, expected);
    }
}
