//! The child's side: one process, its limits, and the dialogue on its standard input and output.
//!
//! It has what it needs and no more: no files to write, sixteen descriptors, an address space with a ceiling; limits that are
//! lower already stay. What goes wrong on a document ends at worst this process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use rustix::process::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frames::{self, CHUNK};
use super::opened::Opened;
use super::picture::pictures;
use crate::process;

/// Stack of the thread that works: deep structures are bounded, but the readers' recursion is not ours to bound.
const STACK: usize = 64 << 20;

/// `faxbridge packet-worker MEMORY CPU`: address space in bytes, processor time in seconds over the process's life.
#[must_use]
pub fn worker_main() -> ExitCode {
    // Nothing of a document may reach a log by way of a panic's message.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(2).map(|argument| argument.parse::<u64>().ok());
    let (Some(Some(memory)), Some(Some(cpu))) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    if limit(memory, cpu).is_err() {
        return ExitCode::from(3);
    }
    loop {
        // A thread for each document: its stack and buffers go with it, and what is freed is overwritten. Nothing of a document is
        // in this process while it waits for the next.
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(|| -> io::Result<Next> {
            // Not the library's line-buffered handle: every frame is flushed as it is.
            let mut input = io::BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
            let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            serve(&mut input, &mut output)
        });
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(Ok(Next::Document))) => {}
            Ok(Ok(Ok(Next::End))) => return ExitCode::SUCCESS,
            _ => return ExitCode::FAILURE,
        }
    }
}

/// What there is to do for the process when a dialogue is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It waits for another document.
    Document,
    /// It ends.
    End,
}

fn limit(memory: u64, cpu: u64) -> rustix::io::Result<()> {
    for (resource, most) in
        [(Resource::As, memory), (Resource::Cpu, cpu), (Resource::Fsize, 0), (Resource::Nofile, 16)]
    {
        process::lower(resource, most)?;
    }
    Ok(())
}

/// Answers until the parent closes the document, or its end.
fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<Next> {
    let mut opened: Option<Opened> = None;
    let (mut cover, mut text) = (None, None);
    while let Some((kind, body)) = frames::read(input)? {
        // The work may panic: then the document is given up, and with it whatever state it left.
        let answered = match kind {
            frames::OPEN => {
                opened = None;
                let request: frames::Open = json(&body)?;
                let mut documents = Vec::new();
                for frames::Incoming { input: kind, bytes } in request.documents {
                    documents.push((kind, receive(input, bytes)?));
                }
                match caught(|| Opened::of(documents, request.rules)) {
                    Some(new) => {
                        let contents = &opened.insert(new).contents;
                        Some(say(output, frames::CONTENTS, contents))
                    }
                    None => None,
                }
            }
            frames::COVER => {
                cover = Some(body);
                continue;
            }
            frames::BODY => {
                text = Some(body);
                continue;
            }
            frames::MAKE => {
                let request: frames::Make = json(&body)?;
                let opened = opened.as_mut().ok_or_else(out_of_step)?;
                let front = [cover.take(), text.take()];
                caught(|| opened.make(front, request.selection.as_ref())).map(|made| match made {
                    Ok((made, pdf)) => {
                        send(output, &pdf)?;
                        say(output, frames::MADE, &made)
                    }
                    Err(sentence) => frames::write(output, frames::HELD, sentence.as_bytes()),
                })
            }
            frames::PAGES => {
                let request: frames::Make = json(&body)?;
                let opened = opened.as_mut().ok_or_else(out_of_step)?;
                caught(|| opened.write_pages(request.selection.as_ref())).map(|written| match written {
                    Ok(()) => {
                        opened.written().into_iter().try_for_each(|half| send(output, half))?;
                        frames::write(output, frames::DONE, b"")
                    }
                    Err(sentence) => frames::write(output, frames::HELD, sentence.as_bytes()),
                })
            }
            frames::FRONT => {
                let opened = opened.as_mut().ok_or_else(out_of_step)?;
                let before = [cover.take(), text.take()];
                caught(|| opened.write_front(before)).map(|made| match made {
                    Ok((made, front)) => {
                        send(output, &front.to_bytes())?;
                        say(output, frames::MADE, &made)
                    }
                    Err(sentence) => frames::write(output, frames::HELD, sentence.as_bytes()),
                })
            }
            frames::PICTURES => {
                let request: frames::Pictures = json(&body)?;
                let pdf = opened.as_ref().and_then(Opened::output).ok_or_else(out_of_step)?;
                let draw = || {
                    pictures(pdf, request.first..request.after_last, request.dpi, |png| {
                        send(output, &png)?;
                        frames::write(output, frames::END, b"")
                    })
                };
                match caught(draw) {
                    Some(Ok(sent)) => Some(sent.and_then(|()| frames::write(output, frames::DONE, b""))),
                    Some(Err(sentence)) => Some(frames::write(output, frames::HELD, sentence.as_bytes())),
                    None => None,
                }
            }
            frames::CLOSE => {
                drop((opened, cover, text));
                say(output, frames::CLOSED, &frames::Closed { resident: resident() })?;
                return Ok(Next::Document);
            }
            _ => return Err(out_of_step()),
        };
        match answered {
            Some(written) => written?,
            None => {
                frames::write(output, frames::CRASHED, b"")?;
                return Ok(Next::End);
            }
        }
    }
    Ok(Next::End)
}

/// `None` when the work panicked.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The document: `DATA` frames up to `END`, about `bytes` in all.
fn receive(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    // Where there is no room, it is found out when there really are so many.
    let _ = document.try_reserve_exact(usize::try_from(bytes).unwrap_or(0));
    loop {
        let mut head = [0; frames::HEAD];
        input.read_exact(&mut head)?;
        let (kind, length) = frames::unhead(head)?;
        match kind {
            frames::DATA => {
                if input.by_ref().take(length as u64).read_to_end(&mut document)? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            frames::END => return Ok(document),
            _ => return Err(out_of_step()),
        }
    }
}

fn send(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(CHUNK).try_for_each(|chunk| frames::write(output, frames::DATA, chunk))
}

fn say(output: &mut impl Write, kind: u8, message: &impl Serialize) -> io::Result<()> {
    frames::write(output, kind, &serde_json::to_vec(message)?)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(body)?)
}

fn out_of_step() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame out of step")
}

/// Memory this process holds, in bytes. Zero where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{attached, document, mail, pdf, saved_modern};
    use super::super::{Contents, Input, Made, Rules};
    use super::*;

    /// One whole dialogue in this process: the kinds of the answers, and the parts list if there was one.
    fn dialogue(input: Input, document: &[u8]) -> (Vec<u8>, Option<Contents>) {
        dialogue_about(&[(input, document)])
    }

    fn dialogue_about(given: &[(Input, &[u8])]) -> (Vec<u8>, Option<Contents>) {
        let mut wire = Vec::new();
        let incoming = |(input, bytes): &(Input, &[u8])| frames::Incoming {
            input: input.clone(),
            bytes: bytes.len() as u64,
        };
        let documents = given.iter().map(incoming).collect();
        say(&mut wire, frames::OPEN, &frames::Open { documents, rules: Rules::default() }).unwrap();
        for (_, document) in given {
            send(&mut wire, document).unwrap();
            frames::write(&mut wire, frames::END, b"").unwrap();
        }
        frames::write(&mut wire, frames::COVER, &pdf(&["cover"])).unwrap();
        say(&mut wire, frames::MAKE, &frames::Make { selection: None }).unwrap();
        frames::write(&mut wire, frames::CLOSE, b"").unwrap();
        let mut answers = Vec::new();
        serve(&mut wire.as_slice(), &mut answers).unwrap();
        let (mut kinds, mut contents) = (Vec::new(), None);
        let mut answers = answers.as_slice();
        while let Some((kind, body)) = frames::read(&mut answers).unwrap() {
            match kind {
                frames::CONTENTS => contents = Some(serde_json::from_slice(&body).unwrap()),
                frames::MADE => drop(serde_json::from_slice::<Made>(&body).unwrap()),
                _ => {}
            }
            kinds.push(kind);
        }
        (kinds, contents)
    }

    fn file() -> Input {
        Input::File { name: "x.pdf".into() }
    }

    /// Whatever came in, the dialogue went to its end, or the crash was said.
    fn is_answered(kinds: &[u8]) -> bool {
        matches!(kinds.last(), Some(&(frames::CLOSED | frames::CRASHED)))
    }

    #[test]
    fn a_dialogue_goes_from_open_to_closed() {
        let (kinds, contents) = dialogue(file(), &pdf(&["one"]));
        assert_eq!(kinds, [frames::CONTENTS, frames::DATA, frames::MADE, frames::CLOSED]);
        assert_eq!(contents.unwrap().pages, 1);
        let (kinds, contents) = dialogue(Input::Mail, b"no mail");
        assert_eq!(kinds, [frames::CONTENTS, frames::HELD, frames::CLOSED]);
        assert!(contents.unwrap().hold.is_some());
    }

    #[test]
    fn several_documents_are_one_packet() {
        let (one, two) = (pdf(&["one"]), pdf(&["two", "three"]));
        let (kinds, contents) = dialogue_about(&[(file(), &one), (file(), &two)]);
        assert_eq!(kinds, [frames::CONTENTS, frames::DATA, frames::MADE, frames::CLOSED]);
        let contents = contents.unwrap();
        let pages: Vec<_> = contents.parts.iter().map(|part| part.pages).collect();
        assert_eq!((pages, contents.pages, contents.hold), (vec![Some((1, 1)), Some((2, 3))], 3, None));
        // One that holds holds all.
        let (kinds, contents) = dialogue_about(&[(file(), &one), (file(), b"no document")]);
        assert_eq!(kinds, [frames::CONTENTS, frames::HELD, frames::CLOSED]);
        assert!(contents.unwrap().hold.is_some());
    }

    #[test]
    fn a_parent_out_of_step_ends_the_child() {
        for wire in [&b"\0\0\0\0Z"[..], b"\0\0\0\x02M{}", b"\0\0\0\x02O{}", b"\xff\xff\xff\xffD", b"\0\0"] {
            assert!(serve(&mut &wire[..], &mut Vec::new()).is_err(), "{wire:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0..3) {
            let (input, document) = match kind {
                0 => (Input::Mail, bytes),
                1 => (file(), bytes),
                _ => (file(), [b"%PDF-1.7\n".as_slice(), &bytes].concat()),
            };
            prop_assert!(is_answered(&dialogue(input, &document).0));
        }

        #[test]
        fn mutated_documents_get_an_answer(
            modern in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in proptest::option::of(any::<prop::sample::Index>()),
            as_mail in any::<bool>(),
        ) {
            let lines = ["one", "two"];
            let mut bytes = if modern { saved_modern(document(&lines)) } else { pdf(&lines) };
            if as_mail {
                bytes = mail(&[("Content-Type: text/plain", b"text"), (&attached("a.pdf"), &bytes)]);
            }
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let (kinds, contents) = dialogue(if as_mail { Input::Mail } else { file() }, &bytes);
            prop_assert!(is_answered(&kinds));
            if let Some(contents) = contents.filter(|contents| contents.hold.is_none()) {
                prop_assert!(contents.pages == 2, "{} pages and no hold", contents.pages);
            }
        }
    }
}
