//! The SFTP packets of one channel: cut from the stream, answered in order, answers sent in bundles.
//!
//! An own loop instead of `russh_sftp::server::run`, which keeps reading out of step after a packet that is too long or
//! malformed, copies every write twice more, and sends every answer as a message of its own. Here the first such packet
//! ends the channel. One of a type that is no request of version 3 is none of these: it says how long it is, so it is passed over
//! and answered as unsupported, and clients that only try whether something works go on.

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use russh_sftp::protocol::Packet;
use tokio::sync::watch;

use super::files::Files;

/// Longest packet: 256 KiB of data, the most that OpenSSH sends, and its header.
const LONGEST_PACKET: usize = (256 << 10) + 1024;
/// Answers are sent together until they make up this many bytes.
const BUNDLE: usize = 16 << 10;
/// A client that takes none of its answers for this long is given up.
const STALLED: Duration = Duration::from_secs(60);

const SSH_FXP_WRITE: u8 = 6;
const SSH_FXP_STATUS: u8 = 101;

/// Why a channel ends before its client closed it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("a packet of {0} bytes is longer than any client sends")]
    Long(usize),
    #[error("a packet that is not of SFTP version 3")]
    Malformed,
    #[error("the client takes no answers")]
    Stalled,
    #[error("the connection is gone")]
    Gone,
}

/// Serves one channel until its client closes it, breaks the protocol, or `stop` turns true between two uploads.
pub(super) async fn serve(
    mut incoming: ChannelReadHalf,
    outgoing: ChannelWriteHalf<Msg>,
    mut files: Files,
    mut stop: watch::Receiver<bool>,
) {
    match talk(&mut incoming, &outgoing, &mut files, &mut stop).await {
        Ok(()) => {}
        Err(Broken::Gone) => return,
        Err(broken) => tracing::info!(sftp.user = files.user(), "an SFTP channel was closed: {broken}"),
    }
    // Errors here mean that the connection is gone already.
    let farewell = async {
        let _ = outgoing.exit_status(0).await;
        let _ = outgoing.eof().await;
        let _ = outgoing.close().await;
    };
    let _ = tokio::time::timeout(STALLED, farewell).await;
}

async fn talk(
    incoming: &mut ChannelReadHalf,
    outgoing: &ChannelWriteHalf<Msg>,
    files: &mut Files,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Broken> {
    let mut input = BytesMut::new();
    let mut answers = BytesMut::new();
    loop {
        while let Some(packet) = next_packet(&mut input)? {
            if packet.first() == Some(&SSH_FXP_WRITE) {
                write(packet, files, &mut answers).await?;
            } else {
                // What follows may wait for the disk; the client should not wait for earlier answers meanwhile.
                send(outgoing, &mut answers).await?;
                other(packet, files, &mut answers).await?;
            }
            if answers.len() >= BUNDLE {
                send(outgoing, &mut answers).await?;
            }
        }
        let message = match incoming.wait().now_or_never() {
            Some(message) => message,
            None => {
                send(outgoing, &mut answers).await?;
                if *stop.borrow() && !files.uploading() {
                    return Ok(());
                }
                if input.is_empty() && !files.uploading() {
                    // A session may wait here for long: with nothing of the file before. What is freed is overwritten.
                    (input, answers) = (BytesMut::new(), BytesMut::new());
                }
                tokio::select! {
                    message = incoming.wait() => message,
                    // The sender lives as long as the server; if it is gone, the channel's own end comes next.
                    Ok(()) = stop.changed() => continue,
                }
            }
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                files.end_slow_ones(Instant::now());
                input.extend_from_slice(&data);
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return send(outgoing, &mut answers).await,
            Some(_) => {}
        }
    }
}

/// Cuts the next whole packet off the front of `input`, without its length.
fn next_packet(input: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
    let Some((length, _)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match length {
        0 => Err(Broken::Malformed),
        length if length > LONGEST_PACKET => Err(Broken::Long(length)),
        length if input.len() < 4 + length => {
            input.reserve(4 + length - input.len());
            Ok(None)
        }
        length => {
            input.advance(4);
            Ok(Some(input.split_to(length).freeze()))
        }
    }
}

/// SSH_FXP_WRITE is nearly all of the traffic, so it is read without copies and answered without allocations.
async fn write(mut packet: Bytes, files: &mut Files, answers: &mut BytesMut) -> Result<(), Broken> {
    let malformed = |_| Broken::Malformed;
    packet.advance(1);
    let id = packet.try_get_u32().map_err(malformed)?;
    let handle = string(&mut packet)?;
    let offset = packet.try_get_u64().map_err(malformed)?;
    // What may follow is passed over, as OpenSSH does: rclone sends its last write in a packet of full length, with
    // old bytes behind the data (seen with rclone 1.60).
    let data = string(&mut packet)?;
    match files.write(&handle, offset, data).await {
        Ok(()) => {
            answers.put_u32(17);
            answers.put_u8(SSH_FXP_STATUS);
            answers.put_u32(id);
            answers.put_u32(0); // SSH_FX_OK
            answers.put_u32(0); // no message
            answers.put_u32(0); // in no language
            Ok(())
        }
        Err(no) => encode(no.packet(id), answers),
    }
}

/// A length and that many bytes.
fn string(packet: &mut Bytes) -> Result<Bytes, Broken> {
    let length = packet.try_get_u32().map_err(|_| Broken::Malformed)?;
    let length = usize::try_from(length).map_err(|_| Broken::Malformed)?;
    if length > packet.len() {
        return Err(Broken::Malformed);
    }
    Ok(packet.split_to(length))
}

async fn other(mut packet: Bytes, files: &mut Files, answers: &mut BytesMut) -> Result<(), Broken> {
    if let Some(id) = unknown(&packet) {
        // Before the greeting nobody may ask for anything.
        let answer = files.unsupported(id).ok_or(Broken::Malformed)?;
        return encode(answer, answers);
    }
    let request = Packet::try_from(&mut packet).map_err(|_| Broken::Malformed)?;
    let answer = files.answer(request).await.ok_or(Broken::Malformed)?;
    encode(answer, answers)
}

/// The number of a request that version 3 does not know.
fn unknown(packet: &Bytes) -> Option<u32> {
    let (kind, rest) = packet.split_first()?;
    // SSH_FXP_INIT, the requests from SSH_FXP_OPEN to SSH_FXP_SYMLINK, SSH_FXP_EXTENDED.
    if matches!(kind, 1 | 3..=20 | 200) {
        return None;
    }
    rest.first_chunk().map(|id| u32::from_be_bytes(*id))
}

fn encode(packet: Packet, answers: &mut BytesMut) -> Result<(), Broken> {
    let bytes = Bytes::try_from(packet).map_err(|_| Broken::Malformed)?;
    answers.extend_from_slice(&bytes);
    Ok(())
}

async fn send(outgoing: &ChannelWriteHalf<Msg>, answers: &mut BytesMut) -> Result<(), Broken> {
    if answers.is_empty() {
        return Ok(());
    }
    let sent = tokio::time::timeout(STALLED, outgoing.data_bytes(answers.split().freeze())).await;
    sent.map_err(|_| Broken::Stalled)?.map_err(|_| Broken::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_from_the_stream_and_bad_lengths_end_it() {
        let mut input = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x03c"[..]);
        assert_eq!(next_packet(&mut input).unwrap().unwrap(), "ab");
        assert!(next_packet(&mut input).unwrap().is_none());
        input.extend_from_slice(b"de");
        assert_eq!(next_packet(&mut input).unwrap().unwrap(), "cde");
        assert!(next_packet(&mut input).unwrap().is_none());
        assert!(matches!(next_packet(&mut BytesMut::from(&[0; 4][..])), Err(Broken::Malformed)));
        assert!(matches!(next_packet(&mut BytesMut::from(&[255; 4][..])), Err(Broken::Long(_))));
    }

    #[test]
    fn only_what_is_no_request_of_version_3_is_passed_over() {
        let number = |packet: &'static [u8]| unknown(&Bytes::from_static(packet));
        assert_eq!(number(&[21, 0, 0, 0, 7, 1, 2]), Some(7));
        assert_eq!(number(&[101, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[99, 0, 0]), None, "without a number it cannot be answered");
        for kind in [1, 3, 6, 20, 200] {
            assert_eq!(unknown(&Bytes::from(vec![kind, 0, 0, 0, 7])), None, "{kind}");
        }
    }
}
