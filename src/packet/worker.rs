//! The child's side: one process, its limits, and the dialogue on its standard input and output.
//!
//! It has what it needs and no more: no core dumps (they would hold pages), no files to write, sixteen descriptors, an
//! address space with a ceiling. What goes wrong on a document ends at worst this process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frames::{self, CHUNK};
use super::opened::Opened;
use super::picture::pictures;
use super::{Input, Rules};

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
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(|| -> io::Result<()> {
        // Not the library's line-buffered handle: every frame is flushed as it is.
        let mut input =
            io::BufReader::with_capacity(CHUNK, File::from(io::stdin().as_fd().try_clone_to_owned()?));
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        serve(&mut input, &mut output)
    });
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn limit(memory: u64, cpu: u64) -> rustix::io::Result<()> {
    for (resource, most) in [
        (Resource::As, memory),
        (Resource::Cpu, cpu),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 16),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Answers until the parent closes its end.
fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut opened: Option<Opened> = None;
    let mut cover = Vec::new();
    while let Some((kind, body)) = frames::read(input)? {
        // The work may panic: then the document is given up, and with it whatever state it left.
        let answered = match kind {
            frames::OPEN => {
                opened = None;
                let request: frames::Open = json(&body)?;
                let document = receive(input)?;
                match caught(|| open(&request.input, document, request.rules)) {
                    Some(new) => {
                        let contents = &opened.insert(new).contents;
                        Some(say(output, frames::CONTENTS, contents))
                    }
                    None => None,
                }
            }
            frames::COVER => {
                cover = body;
                continue;
            }
            frames::MAKE => {
                let request: frames::Make = json(&body)?;
                let opened = opened.as_mut().ok_or_else(out_of_step)?;
                let cover = std::mem::take(&mut cover);
                caught(|| opened.make(cover, request.selection.as_ref())).map(|made| match made {
                    Ok((made, pdf)) => {
                        send(output, &pdf)?;
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
                opened = None;
                cover = Vec::new();
                Some(say(output, frames::CLOSED, &frames::Closed { resident: resident() }))
            }
            _ => return Err(out_of_step()),
        };
        match answered {
            Some(written) => written?,
            None => {
                frames::write(output, frames::CRASHED, b"")?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn open(input: &Input, document: Vec<u8>, rules: Rules) -> Opened {
    match input {
        Input::Mail => Opened::mail(&document, rules),
        Input::File { name } => Opened::file(name, document, rules),
    }
}

/// `None` when the work panicked.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The document: `DATA` frames up to `END`.
fn receive(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    loop {
        let mut head = [0; frames::HEAD];
        input.read_exact(&mut head)?;
        let (kind, length) = frames::unhead(head)?;
        match kind {
            frames::DATA => {
                let start = document.len();
                document.resize(start + length, 0);
                input.read_exact(document.get_mut(start..).unwrap_or_default())?;
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
