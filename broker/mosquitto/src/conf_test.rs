use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::conf::{LINE_BYTES_MAX, include_order, read};

/// Files in memory.
#[derive(Default)]
pub(crate) struct Files(pub(crate) BTreeMap<&'static str, String>);

impl Files {
    pub(crate) fn of<const N: usize>(files: [(&'static str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path, text.to_owned())).collect())
    }
}

impl Source for Files {
    fn read(&mut self, path: &str) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let prefix = format!("{folder}/");
        let names: Vec<_> = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect();
        if names.is_empty() { Err("no such folder".to_owned()) } else { Ok(names) }
    }

    fn resolve(&mut self, host: &str) -> Result<IpAddr, String> {
        match host {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            _ => Err("no such host".to_owned()),
        }
    }
}

fn lines(files: &mut Files) -> (Vec<String>, String) {
    let (lines, faults) = read("m.conf", files);
    let shown = lines.iter().map(|line| format!("{} {}={}", line.at, line.name, line.value));
    (shown.collect(), faults.to_string())
}

#[test]
fn comments_and_blank_lines_say_nothing_and_the_value_is_the_rest_of_the_line() {
    let text = "# c\r\n\r\n   \n#listener 1\n  user  a b # c \t\r\npersistence\n";
    let (found, faults) = lines(&mut Files::of([("m.conf", text)]));
    assert_eq!(found, ["m.conf:5 user=a b # c", "m.conf:6 persistence="]);
    assert_eq!(faults, "");
}

#[test]
fn a_folder_is_read_in_mosquittos_order_where_its_line_stands() {
    let mut files = Files::of([
        ("m.conf", "a 1\ninclude_dir d\nz 1\n"),
        ("d/b.conf", "b 1"),
        ("d/A.conf", "upper 1"),
        ("d/a.conf", "\nlower 1"),
        ("d/00.conf", "number 1"),
        ("d/readme", "no 1"),
        ("d/.conf", "no 1"),
    ]);
    let (found, faults) = lines(&mut files);
    assert_eq!(
        found,
        [
            "m.conf:1 a=1",
            "d/00.conf:1 number=1",
            "d/A.conf:1 upper=1",
            "d/a.conf:2 lower=1",
            "d/b.conf:1 b=1",
            "m.conf:3 z=1"
        ]
    );
    assert_eq!(faults, "");
    let names = ["ab.conf", "Aa.conf", "a_b.conf", "aB.conf", "a.conf"].map(str::to_owned).to_vec();
    assert_eq!(include_order(names), ["Aa.conf", "a.conf", "aB.conf", "ab.conf", "a_b.conf"]);
}

#[test]
fn what_can_not_be_read_is_told_with_the_line_that_asks_for_it() {
    let mut files = Files::of([
        ("m.conf", "include_dir gone\ninclude_dir\ninclude_dir d\n"),
        ("d/a.conf", "include_dir d\n"),
    ]);
    let long = format!("x {}\n", "y".repeat(LINE_BYTES_MAX));
    files.0.get_mut("m.conf").unwrap().push_str(&long);
    let (found, faults) = lines(&mut files);
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        faults,
        "m.conf:1: gone: no such folder\n\
         m.conf:2: include_dir has no value; write one after it\n\
         d/a.conf:1: include_dir counts in the main file only; move the line there\n\
         m.conf:4: the line is longer than 66000 bytes; split it"
    );
    assert_eq!(lines(&mut Files::default()).1, "m.conf: no such file");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[ -~\t\r]{0,60}(\n.{0,20}){0,3}") {
        let mut files = Files::of([("m.conf", &text)]);
        let (lines, _) = read("m.conf", &mut files);
        MosquittoConfig::build(&lines);
        let _ = AclFile::read("acl", &text);
        let _ = read_password_file("passwd", &text);
    }
}
