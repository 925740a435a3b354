use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

type Answers = Sender<io::Result<()>>;
type Written = Arc<Mutex<Vec<u8>>>;

/// Answers each write with what it is told to: an error, or that it went.
struct Scripted {
    script: Receiver<io::Result<()>>,
    written: Written,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Waits as a full pipe does. Behind its end everything goes.
        self.script.recv().unwrap_or(Ok(()))?;
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn scripted(format: LogFormat) -> (Log, Answers, Written) {
    let (sender, script) = channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let log = Log::to(Scripted { script, written: Arc::clone(&written) }, format).unwrap();
    (log, sender, written)
}

fn text(written: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn what_could_not_be_written_is_counted_and_told_in_its_place() {
    let (log, script, written) = scripted(LogFormat::Text);
    let broken = || Err(io::Error::from(io::ErrorKind::StorageFull));
    // "one" goes; "two" does not; before "three" the gap cannot be told; before "four" it can.
    for answer in [Ok(()), broken(), broken(), Ok(()), Ok(())] {
        script.send(answer).unwrap();
    }
    for line in ["one\n", "two\n", "three\n", "four\n"] {
        log.hand_over(line.into());
    }
    log.flush(LONG);
    let text = text(&written);
    assert!(text.starts_with("one\n") && text.ends_with("\nfour\n"), "{text}");
    assert!(text.contains("WARN faxbridge::log: 2 lines of this log could not be written"), "{text}");
    assert_eq!(log.trouble(), None, "it was told");
}

#[test]
fn a_gap_is_told_although_nothing_more_is_logged() {
    let (log, script, written) = scripted(LogFormat::Json);
    script.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    log.hand_over("lost\n".into());
    log.flush(LONG);
    assert!(log.trouble().is_some_and(|cause| cause.contains("cannot be written")));
    drop(script);
    let begun = Instant::now();
    while log.trouble().is_some() {
        assert!(begun.elapsed() < LONG, "the gap was never told");
        thread::sleep(PAUSE);
    }
    let line: serde_json::Value = serde_json::from_str(text(&written).trim()).unwrap();
    assert_eq!(line["fields"]["lost"], 1);
    assert_eq!((line["level"].as_str(), line["target"].as_str()), (Some("WARN"), Some("faxbridge::log")));
}

#[test]
fn nobody_who_logs_waits_for_a_reader_that_stands_still() {
    let (log, script, written) = scripted(LogFormat::Text);
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let begun = Instant::now();
    for _ in 0..5_000 {
        log.hand_over(line.clone());
    }
    log.flush(Duration::from_millis(10));
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
    assert!(log.shared.lock().bytes <= ROOM);
    assert!(log.trouble().is_some_and(|cause| cause.contains("does not keep up")));
    drop(script);
    log.flush(LONG);
    log.hand_over("the last\n".into());
    log.flush(LONG);
    let text = text(&written);
    let whole = text.lines().filter(|line| line.len() == 999).count();
    let gap = text.lines().find(|line| line.contains("could not be written")).unwrap();
    let lost: usize = gap.rsplit_once('=').unwrap().1.parse().unwrap();
    assert_eq!(whole + lost, 5_000);
    assert!(lost > 3_000 && text.ends_with("the last\n"), "{gap}");
    assert_eq!(log.trouble(), None);
}

#[test]
fn a_line_that_was_cut_does_not_run_into_the_next() {
    struct Cut(u32, Arc<Mutex<Vec<u8>>>);
    impl Write for Cut {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            let n = match self.0 {
                1 => 3,
                2 => return Err(io::ErrorKind::StorageFull.into()),
                _ => bytes.len(),
            };
            self.1.lock().unwrap().extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Arc::new(Mutex::new(Vec::new()));
    let log = Log::to(Cut(0, Arc::clone(&written)), LogFormat::Text).unwrap();
    log.hand_over("abcdef\n".into());
    log.hand_over("next\n".into());
    log.flush(LONG);
    let text = text(&written);
    let lines: Vec<&str> = text.lines().collect();
    assert!(matches!(lines.as_slice(), ["abc", gap, "next"] if gap.contains("1 line of this log")), "{text}");
}
