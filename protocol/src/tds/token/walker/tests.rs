use proptest::prelude::*;

use super::*;

/// Everything that a message says, when its payload comes in these pieces.
fn facts(layout: Layout, pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let mut walker = Walker::new(layout);
    let mut facts = Vec::new();
    let mut int: Vec<u8> = Vec::new();
    for piece in pieces {
        walker.begin_packet();
        let mut at = 0;
        loop {
            let walked = walker.next(piece, at);
            at = walked.at;
            match walked.token {
                None => break,
                Some(Token::Int {
                    ordinal,
                    at,
                    from,
                    count,
                }) => {
                    assert_eq!(usize::from(from), int.len());
                    int.extend(&piece[at..at + usize::from(count)]);
                    if int.len() == 4 {
                        facts.push(format!("int {ordinal} {int:?}"));
                        int.clear();
                    }
                }
                Some(token) => facts.push(format!("{token:?}")),
            }
        }
        assert_eq!(at, piece.len());
    }
    (facts, walker.end_message())
}

fn whole(layout: Layout, payload: &[u8]) -> Vec<String> {
    let (facts, clean) = facts(layout, &[payload]);
    assert!(clean, "{facts:?}");
    facts
}

/// Cuts a payload in every place once, and into single bytes.
fn however_cut(layout: Layout, payload: &[u8]) -> Vec<String> {
    let expected = whole(layout, payload);
    for cut in 0..=payload.len() {
        let (left, right) = payload.split_at(cut);
        let (cut_facts, clean) = facts(layout, &[left, right]);
        assert!(clean, "cut at {cut}");
        assert_eq!(cut_facts, expected, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = payload.chunks(1).collect();
    assert_eq!(facts(layout, &bytes), (expected.clone(), true));
    expected
}

pub(super) const DONE_ONE_ROW: [u8; 13] = [0xfd, 0x10, 0, 0xc1, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/// A column without a name, of a type with this TYPE_INFO.
fn column(info: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 9, 0], info, &[1, b'c', 0]].concat()
}

fn rows(info: &[u8], values: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![COLMETADATA, 1, 0];
    payload.extend(column(info));
    for value in values {
        payload.push(ROW);
        payload.extend(*value);
    }
    payload.extend(DONE_ONE_ROW);
    payload
}

/// Every type of 2.2.5.4 with values and NULL.
#[test]
fn values_of_every_type_are_passed_over() {
    let collation = [9, 4, 0xd0, 0, 0x34];
    let with_collation = |kind: u8, max: [u8; 2]| [&[kind], &max[..], &collation].concat();
    let plp: &[u8] = &[
        6, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0, 5, 6, 0, 0, 0, 0,
    ];
    let unknown: &[u8] = &[
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xfd, 0, 0, 0, 0,
    ];
    let null: &[u8] = &[0xff; 8];
    let empty: &[u8] = &[0; 12];
    let pointer: Vec<u8> = [
        &[16][..],
        &[1; 16],
        &[2; 8],
        &[3, 0, 0, 0, 0xfd, 0xfd, 0xfd],
    ]
    .concat();
    let mut cases: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![
        (vec![0x30], vec![vec![0xfd]]),
        (vec![0x34], vec![vec![0xfd; 2]]),
        (vec![0x38], vec![vec![0xfd; 4]]),
        (vec![0x7f], vec![vec![0xfd; 8]]),
        (vec![0x26, 4], vec![vec![4, 1, 2, 3, 4], vec![0]]),
        (
            vec![0x24, 16],
            vec![[&[16][..], &[0xfd; 16]].concat(), vec![0]],
        ),
        (vec![0x6c, 17, 38, 0], vec![vec![5, 1, 2, 3, 4, 5], vec![0]]),
        (vec![0x28], vec![vec![3, 1, 2, 3], vec![0]]),
        (
            vec![0x2b, 7],
            vec![vec![10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], vec![0]],
        ),
        (
            vec![0xa5, 16, 0],
            vec![vec![2, 0, 1, 2], vec![0xff, 0xff], vec![0, 0]],
        ),
        (vec![0xad, 16, 0], vec![vec![2, 0, 1, 2], vec![0xff, 0xff]]),
        (
            with_collation(0xe7, [20, 0]),
            vec![vec![2, 0, b'a', 0], vec![0xff, 0xff]],
        ),
        (with_collation(0xaf, [20, 0]), vec![vec![1, 0, 0xfd]]),
        (
            vec![0x62, 0x41, 0x1f, 0, 0],
            vec![vec![6, 0, 0, 0, 0x38, 0, 1, 2, 3, 4], vec![0; 4]],
        ),
        (
            vec![0xf5, 8, 0, 0],
            vec![vec![4, 0, 1, 2, 3, 4], vec![0xff, 0xff]],
        ),
    ];
    let chunked = [plp, unknown, null, empty].map(<[u8]>::to_vec).to_vec();
    let udt: Vec<u8> = [
        &[0xf0, 0xff, 0xff][..],
        &[1, b'd', 0, 1, b's', 0, 1, b't', 0],
        &[2, 0, b'a', 0, b'b', 0],
    ]
    .concat();
    let xml: Vec<u8> = [&[0xf1, 1][..], &[1, b'd', 0, 0], &[1, 0, b'c', 0]].concat();
    for info in [
        vec![0xa5, 0xff, 0xff],
        with_collation(0xa7, [0xff, 0xff]),
        with_collation(0xe7, [0xff, 0xff]),
        vec![0xf1, 0],
        vec![0xf4],
        udt,
        xml,
    ] {
        cases.push((info, chunked.clone()));
    }
    // text, ntext and image also name their table.
    let table = [2, 1, 0, b's', 0, 2, 0, b't', 0, b'u', 0];
    let max = [0xff, 0xff, 0xff, 0x7f];
    for kind in [0x22, 0x23, 0x63] {
        let mut info = [&[kind], &max[..]].concat();
        if kind != 0x22 {
            info.extend(collation);
        }
        info.extend(table);
        cases.push((info, vec![pointer.clone(), vec![0]]));
    }
    for (info, values) in cases {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let facts = however_cut(Layout::default(), &rows(&info, &values));
        assert_eq!(facts.len(), 1, "{info:02x?}: {facts:?}");
        assert!(facts[0].contains("rows: 1"), "{facts:?}");
    }
}

#[test]
fn rows_with_bitmaps_lack_their_nulls() {
    let mut payload = vec![COLMETADATA, 9, 0];
    for _ in 0..9 {
        payload.extend(column(&[0x38]));
    }
    // Columns 0 to 7 are NULL but for 2; column 8 is not.
    payload.extend([NBCROW, 0xfb, 0, 0xfd, 0xfd, 0xfd, 0xfd, 1, 2, 3, 4]);
    payload.extend([NBCROW, 0xff, 1]);
    payload.extend(DONE_ONE_ROW);
    assert_eq!(however_cut(Layout::default(), &payload).len(), 1);
}

#[test]
fn tokens_of_every_kind_are_read() {
    let mut payload = vec![ENVCHANGE, 3, 0, 18, 0, 0];
    payload.extend([ERROR, 12, 0, 0xb2, 0x08, 0, 0, 1, 16, 1, 0, b'x', 0, 0, 0]);
    payload.extend([INFO, 2, 0, 7, 7]);
    payload.extend([ORDER, 2, 0, 1, 0]);
    payload.extend([TABNAME, 3, 0, 0xfd, 0xfd, 0xfd]);
    payload.extend([COLINFO, 3, 0, 1, 0, 0]);
    payload.extend([SSPI, 1, 0, 0xfd]);
    payload.extend([LOGINACK, 3, 0, 1, 2, 3]);
    payload.extend([
        FEATUREEXTACK,
        2,
        0,
        0,
        0,
        0,
        1,
        3,
        0,
        0,
        0,
        7,
        8,
        0xff,
        0xff,
    ]);
    payload.extend([RETURNSTATUS, 0xff, 0xff, 0xff, 0xff]);
    payload.extend([
        RETURNVALUE,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0x26,
        4,
        4,
        1,
        0,
        0,
        0,
    ]);
    payload.extend([
        RETURNVALUE,
        1,
        0,
        1,
        b'o',
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0x26,
        4,
        0,
    ]);
    payload.extend([
        RETURNVALUE,
        2,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0xa5,
        8,
        0,
        2,
        0,
        9,
        9,
    ]);
    payload.extend([SESSIONSTATE, 6, 0, 0, 0, 1, 0, 0, 0, 1, 9]);
    payload.extend([FEDAUTHINFO, 2, 0, 0, 0, 9, 9]);
    payload.extend([DONEINPROC, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend([DONEPROC, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let facts = however_cut(Layout::default(), &payload);
    assert_eq!(facts.len(), 10, "{facts:#?}");
    assert_eq!(facts[0], "EnvChange([18, 0, 0])");
    assert_eq!(facts[2], "Info([7, 7])");
    assert_eq!(facts[3], "LoginAck([1, 2, 3])");
    assert_eq!(
        facts[4],
        "Features([2, 0, 0, 0, 0, 1, 3, 0, 0, 0, 7, 8, 255])"
    );
    assert_eq!(facts[5], "ReturnStatus(-1)");
    assert_eq!(facts[6], "int 0 [1, 0, 0, 0]");
    assert_eq!(facts[7], "SessionState([1, 0, 0, 0, 1, 9])");
}

#[test]
fn what_was_agreed_on_changes_the_layout() {
    let encrypted = Layout {
        column_encryption: true,
        ..Layout::default()
    };
    // One key with one value; an encrypted varbinary(max) that is an nvarchar(10) in clear.
    let mut payload = vec![COLMETADATA, 1, 0, 1, 0];
    payload.extend([7; 20]);
    payload.extend([1, 2, 0, 9, 9, 1, b's', 0, 1, 0, b'p', 0, 1, b'a', 0]);
    payload.extend([0, 0, 0, 0, 0, 0x08, 0xa5, 0xff, 0xff]);
    payload.extend([0, 0, 0, 0, 0, 0, 0xe7, 20, 0, 9, 4, 0xd0, 0, 0x34]);
    payload.extend([0, 1, b'A', 0, 1, 1]);
    payload.extend([1, b'c', 0]);
    payload.push(ROW);
    payload.extend([0xff; 8]);
    payload.extend([RETURNVALUE, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0x08, 0xa5, 8, 0]);
    payload.extend([0, 0, 0, 0, 0x26, 4, 2, 1, 1, 2, 0, 9, 9]);
    payload.extend(DONE_ONE_ROW);
    assert_eq!(however_cut(encrypted, &payload).len(), 1);
    for (data_classification, rank, property) in
        [(1, &[][..], &[0; 4][..]), (2, &[1, 0, 0, 0], &[0; 8])]
    {
        let layout = Layout {
            data_classification,
            ..Layout::default()
        };
        let mut payload = vec![DATACLASSIFICATION, 1, 0, 1, b'l', 0, 1, b'i', 0, 1, 0, 0, 0];
        payload.extend(rank);
        payload.extend([2, 0, 1, 0]);
        payload.extend(property);
        payload.extend([0, 0]);
        payload.extend(DONE_ONE_ROW);
        assert_eq!(however_cut(layout, &payload).len(), 1);
    }
    let old = Layout {
        old: true,
        ..Layout::default()
    };
    let mut payload = vec![
        COLMETADATA,
        1,
        0,
        0,
        0,
        9,
        0,
        0x38,
        1,
        b'c',
        0,
        ROW,
        1,
        2,
        3,
        4,
    ];
    payload.extend([OFFSET, 0, 0, 0, 0, DONE, 0x10, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(however_cut(old, &payload).len(), 1);
}

#[test]
fn what_is_not_known_ends_the_reading() {
    let no_metadata = [COLMETADATA, 0xff, 0xff, ROW, 1];
    let unknown_type = [COLMETADATA, 1, 0, 0, 0, 0, 0, 0, 0, 0xcc, 1, 2, 3];
    for payload in [
        &[0x01, 2, 3][..],
        &[DATACLASSIFICATION, 0],
        &no_metadata,
        &unknown_type,
    ] {
        let (facts, clean) = facts(Layout::default(), &[payload, &[1, 2, 3]]);
        assert_eq!(facts.len(), 1);
        assert!(facts[0].starts_with("Unknown"), "{facts:?}");
        assert!(!clean);
    }
    // And so does a message that ends in a token.
    assert!(!facts(Layout::default(), &[&DONE_ONE_ROW[..12]]).1);
}

proptest! {
    #[test]
    fn any_bytes_are_the_same_however_cut(
        payload in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in proptest::collection::vec(1_usize..40, 1..8),
        encrypted in any::<bool>(),
    ) {
        let layout = Layout {
            column_encryption: encrypted,
            data_classification: 2,
            old: false,
        };
        let mut pieces = Vec::new();
        let mut rest = &payload[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        prop_assert_eq!(facts(layout, &pieces), facts(layout, &[&payload]));
    }
}
