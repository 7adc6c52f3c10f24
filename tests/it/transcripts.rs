//! The command line, as terminal sessions with their exact output.
//!
//! A transcript is a text file. `$ command` is run by `sh -e` in an empty folder of the
//! transcript's own, with `bulla` on its path and nobody at the terminal; the lines below it are
//! what it writes (stdout and stderr, as they come), and `? 77` is the exit code it ends with when
//! that is not 0. `@ app` makes the commands after it those of another caller. Lines with `#` at
//! their beginning are for the reader. A run of spaces counts as one, so that a value's width does
//! not matter here (unit tests see to the columns).
//!
//! What differs from run to run is written as `[UUID]`, `[TIME]` (an absolute time and how far away
//! it is), `[RFC3339]`, `[BASE64]`, `[NUMBER]`, `[HEX]`, `[SPAN]`, `[PATH]` or `[TEXT]`; a line
//! `[...]` stands for any number of lines. `[UUID:key]` also remembers the value: `{key}` in a
//! later command or line is that value.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who may stand behind the commands of a transcript.
pub(crate) trait Callers {
    /// The environment (`BULLA_SERVER` and so on) of the caller of this name.
    fn environment(&self, caller: &str) -> Vec<(String, String)>;
}

/// Nobody: for transcripts that need no server.
pub(crate) struct Nobody;

impl Callers for Nobody {
    fn environment(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Plays every transcript of a folder below `tests/cli` and fails with all that differs.
pub(crate) fn play_all(folder: &str, callers: &dyn Callers) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(folder);
    let mut transcripts: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    transcripts.sort();
    assert!(!transcripts.is_empty(), "no transcripts in {}", folder.display());
    let differences: Vec<_> =
        transcripts.iter().filter_map(|transcript| play(transcript, callers).err()).collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// Plays the chapters of a page in `docs` as one transcript: its blocks that begin with
/// "```console CALLER", in order.
pub(crate) fn play_page(page: &str, chapters: &[&str], callers: &dyn Callers) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (mut transcript, mut chapter, mut inside) = (String::new(), "", false);
    for line in text.lines() {
        // A line for each line, so that a difference is told with the page's own number.
        let told = match line.strip_prefix("```") {
            Some("") => {
                inside = false;
                String::new()
            }
            Some(fence) => {
                let caller = fence.strip_prefix("console ").filter(|_| chapters.contains(&chapter));
                inside = caller.is_some();
                caller.map(|caller| format!("@ {caller}")).unwrap_or_default()
            }
            None if inside => line.to_owned(),
            None => {
                chapter = line.strip_prefix("## ").unwrap_or(chapter);
                String::new()
            }
        };
        transcript.push_str(&told);
        transcript.push('\n');
    }
    for chapter in chapters {
        assert!(text.contains(&format!("## {chapter}\n")), "no chapter {chapter} in {page}");
    }
    let played = tempfile::Builder::new().prefix(page).tempfile().unwrap();
    fs::write(played.path(), transcript).unwrap();
    if let Err(difference) = play(played.path(), callers) {
        panic!("{page}\n{difference}");
    }
}

#[test]
fn what_needs_no_server_is_as_the_transcripts_say() {
    play_all("offline", &Nobody);
}

/// A command and what it is expected to do.
#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    caller: String,
    command: String,
    output: Vec<String>,
    exit: i32,
}

fn play(transcript: &Path, callers: &dyn Callers) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let mut remembered = BTreeMap::new();
    for step in parse(&fs::read_to_string(transcript).unwrap()) {
        let command = fill(&step.command, &remembered);
        let (output, exit) = execute(&command, folder.path(), &callers.environment(&step.caller));
        let expected: Vec<_> = step.output.iter().map(|line| fill(line, &remembered)).collect();
        let actual: Vec<_> = output.lines().map(str::to_owned).collect();
        if exit != step.exit || !lines_match(&expected, &actual, &mut remembered) {
            return Err(format!(
                "{}:{}\n$ {command}\n--- expected, ending with {}\n{}\n\
                 +++ was, ending with {exit}\n{output}",
                transcript.display(),
                step.line,
                step.exit,
                expected.join("\n"),
            ));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut caller = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            let (line, caller) = (number + 1, caller.clone());
            steps.push(Step { line, caller, command, output: Vec::new(), exit: 0 });
        } else if let Some(name) = line.strip_prefix("@ ") {
            caller = name.to_owned();
        } else if let Some(exit) = line.strip_prefix("? ") {
            steps.last_mut().unwrap().exit = exit.parse().unwrap();
        } else if !line.starts_with('#')
            && let Some(step) = steps.last_mut()
        {
            step.output.push(line.to_owned());
        }
    }
    // Empty lines between a step and the next are for the reader.
    for step in &mut steps {
        while step.output.last().is_some_and(String::is_empty) {
            step.output.pop();
        }
    }
    steps
}

fn execute(command: &str, folder: &Path, environment: &[(String, String)]) -> (String, i32) {
    // One file for both streams keeps the order in which they were written.
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let output = File::create(&path).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_bulla"));
    let search = format!("{}:{}", program.parent().unwrap().display(), env!("PATH"));
    let status = Command::new("sh")
        .args(["-ec", command])
        .current_dir(folder)
        .env_clear()
        .env("PATH", search)
        .env("HOME", folder)
        .env("COLUMNS", "100")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(output.try_clone().unwrap())
        .stdout(output)
        .status()
        .unwrap();
    let text = fs::read_to_string(&path).unwrap().trim_end().to_owned();
    (text, status.code().unwrap_or(-1))
}

type Remembered = BTreeMap<String, String>;

/// Puts remembered values in the place of their names.
fn fill(text: &str, remembered: &Remembered) -> String {
    remembered
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn lines_match(expected: &[String], actual: &[String], remembered: &mut Remembered) -> bool {
    match (expected.split_first(), actual.split_first()) {
        (None, None) => true,
        (Some((line, rest)), _) if line.trim() == "[...]" => {
            (0..=actual.len()).any(|skip| lines_match(rest, &actual[skip..], remembered))
        }
        (Some((line, rest)), Some((found, others))) => {
            let mut found_here = remembered.clone();
            let matched = line_matches(&squeezed(line), &squeezed(found), &mut found_here)
                && lines_match(rest, others, &mut found_here);
            if matched {
                *remembered = found_here;
            }
            matched
        }
        _ => false,
    }
}

/// Runs of spaces as one.
fn squeezed(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let words: Vec<_> = line.split_whitespace().collect();
    format!("{indent}{}", words.join(" "))
}

fn line_matches(expected: &str, actual: &str, remembered: &mut Remembered) -> bool {
    let Some((before, kind, name, after)) = wildcard(expected) else { return expected == actual };
    let Some(rest) = actual.strip_prefix(before) else { return false };
    // The longest first; what follows decides.
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    let ends: Vec<_> = ends.collect();
    ends.into_iter().rev().any(|end| {
        let (value, tail) = rest.split_at(end);
        let mut found = remembered.clone();
        let matched = is_a(kind, value) && line_matches(after, tail, &mut found);
        if matched {
            *remembered = found;
            if !name.is_empty() {
                remembered.insert(name.to_owned(), value.to_owned());
            }
        }
        matched
    })
}

/// The first wildcard: what stands before it, its kind, its name if it has one, and what follows.
fn wildcard(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = line[from..].find('[').map(|at| from + at) {
        if let Some(close) = line[open..].find(']').map(|at| open + at) {
            let inside = &line[open + 1..close];
            let (kind, name) = inside.split_once(':').unwrap_or((inside, ""));
            if KINDS.contains(&kind) {
                return Some((&line[..open], kind, name, &line[close + 1..]));
            }
        }
        from = open + 1;
    }
    None
}

const KINDS: [&str; 9] =
    ["UUID", "TIME", "RFC3339", "BASE64", "NUMBER", "HEX", "SPAN", "PATH", "TEXT"];

fn is_a(kind: &str, value: &str) -> bool {
    let all = |lawful: fn(char) -> bool| !value.is_empty() && value.chars().all(lawful);
    match kind {
        "UUID" => {
            let lengths: Vec<_> = value.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && all(|c| c == '-' || matches!(c, '0'..='9' | 'a'..='f'))
        }
        "TIME" => match value.split_once(" (") {
            Some((time, away)) => {
                is_a("RFC3339", time)
                    && (away == "now)" || away.ends_with(" ago)") || away.starts_with("in "))
                    && away.ends_with(')')
            }
            None => false,
        },
        "RFC3339" => {
            let shape: String =
                value.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            let plain = shape.trim_end_matches('Z').split('.').next().unwrap();
            value.ends_with('Z') && plain == "0000-00-00T00:00:00"
        }
        "BASE64" => {
            value.len().is_multiple_of(4)
                && all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
        }
        "NUMBER" => all(|c| c.is_ascii_digit()),
        "HEX" => all(|c| c.is_ascii_hexdigit()),
        "SPAN" => all(|c| c.is_ascii_digit() || "dhmsnµ. ".contains(c)),
        "PATH" => all(|c| !c.is_whitespace()),
        "TEXT" => !value.is_empty(),
        other => panic!("{other} is no kind of wildcard"),
    }
}

#[test]
fn a_transcript_is_read_as_its_first_page_says() {
    let text = "# for the reader\n@ app\n$ bulla whoami\nPRINCIPAL  x\n? 77\n\n$ ls\n";
    assert_eq!(
        parse(text),
        [
            Step {
                line: 3,
                caller: "app".into(),
                command: "bulla whoami".into(),
                output: vec!["PRINCIPAL  x".into()],
                exit: 77,
            },
            Step {
                line: 7,
                caller: "app".into(),
                command: "ls".into(),
                output: Vec::new(),
                exit: 0,
            },
        ]
    );
}

#[test]
fn a_wildcard_takes_what_it_says_and_nothing_else() {
    let uuid = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";
    let time = "2027-01-15T08:00:00Z (3 days ago)";
    for (expected, actual, matches) in [
        ("ID [UUID] yes", format!("ID {uuid} yes"), true),
        ("ID [UUID] yes", format!("ID {uuid} no"), false),
        ("ID [UUID]", format!("ID {}", uuid.to_uppercase()), false),
        ("[TIME]", time.to_owned(), true),
        ("[TIME] x", format!("{time} x"), true),
        ("[TIME]", "2027-01-15T08:00:00Z".to_owned(), false),
        ("[RFC3339]", "2027-01-15T08:00:00.123456Z".to_owned(), true),
        ("[BASE64]", "10JVAQ==".to_owned(), true),
        ("[BASE64]", "10JVA".to_owned(), false),
        ("[NUMBER][HEX]", "12ff".to_owned(), true),
        ("[UNKNOWN]", "[UNKNOWN]".to_owned(), true),
        ("a  b", "a b".to_owned(), false),
    ] {
        let matched = line_matches(expected, &actual, &mut Remembered::new());
        assert_eq!(matched, matches, "{expected} / {actual}");
    }
}

#[test]
fn a_named_wildcard_is_remembered_and_any_lines_are_any_number() {
    let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let mut remembered = Remembered::new();
    let expected = own(&["[...]", "key [NUMBER:key]", "end"]);
    assert!(lines_match(&expected, &own(&["x", "y", "key 7", "end"]), &mut remembered));
    assert_eq!(fill("bulla key show {key}", &remembered), "bulla key show 7");
    assert!(!lines_match(&expected, &own(&["key 7", "end", "more"]), &mut remembered));
    assert!(!lines_match(&expected, &own(&["key seven", "end"]), &mut remembered));
}
