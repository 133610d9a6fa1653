//! Running another program: with a limit of time, bounded output, and without this one's secrets.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::EnforceError;

/// Most that is read of what a program writes, bytes a stream.
const MOST_OUTPUT: u64 = 1 << 20;
/// Variables of the environment that no other program is to see.
const SECRETS: [&str; 2] = ["PLUMBLINE_TOKEN", "PLUMBLINE_JUDGE_KEY"];

/// Runs `command` with `input` on its standard input and gives back what it wrote.
///
/// # Errors
/// When it cannot be started, takes longer than `limit` (it is killed then), writes more than
/// a mebibyte, or ends with another status than 0; with the first line that it wrote about it.
pub(super) async fn run(
    mut command: Command,
    input: &[u8],
    limit: Duration,
) -> Result<String, EnforceError> {
    let name = command.as_std().get_program().to_owned();
    let name = name.to_string_lossy();
    for secret in SECRETS {
        command.env_remove(secret);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let finished = tokio::time::timeout(limit, communicate(command, input)).await;
    match finished {
        Err(_) => Err(EnforceError(format!(
            "{name} took longer than {} s and was ended",
            limit.as_secs()
        ))),
        Ok(Err(error)) => Err(EnforceError(format!("{name}: {error}"))),
        Ok(Ok((true, out, _))) => Ok(out),
        Ok(Ok((false, out, err))) => {
            let said = first_line(&err).or_else(|| first_line(&out));
            Err(EnforceError(format!(
                "{name} failed: {}",
                said.unwrap_or("it gave no reason")
            )))
        }
    }
}

/// A command of `program` with `arguments`; no shell reads them.
pub(super) fn command<I, A>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = A>,
    A: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

async fn communicate(
    mut command: Command,
    input: &[u8],
) -> Result<(bool, String, String), std::io::Error> {
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program may end without reading what it is told.
            let _ = stdin.write_all(input).await;
        }
        Ok::<(), std::io::Error>(())
    };
    let (_, out, err) = tokio::try_join!(write, bounded(stdout), bounded(stderr))?;
    let status = child.wait().await?;
    Ok((status.success(), out, err))
}

async fn bounded<R: tokio::io::AsyncRead + Unpin>(
    stream: Option<R>,
) -> Result<String, std::io::Error> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MOST_OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MOST_OUTPUT {
        return Err(std::io::Error::other("it wrote more than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn shell(script: &str) -> Result<String, String> {
        let command = command("/bin/sh", ["-c", script]);
        let outcome = run(command, b"told\n", Duration::from_millis(800)).await;
        outcome.map_err(|error| error.0)
    }

    #[tokio::test]
    async fn what_a_program_does_wrong_is_told() {
        assert_eq!(shell("cat").await.unwrap(), "told\n");
        assert_eq!(shell("true").await.unwrap(), "");
        let table = [
            ("echo why >&2; exit 3", "failed: why"),
            ("exit 3", "gave no reason"),
            ("sleep 30", "took longer"),
            ("head -c 2000000 /dev/zero", "more than 1 MiB"),
        ];
        for (script, expected) in table {
            let error = shell(script).await.unwrap_err();
            assert!(error.contains(expected), "{script}: {error}");
        }
        let missing = command("/no/such/program", [""; 0]);
        assert!(run(missing, b"", Duration::from_secs(1)).await.is_err());
    }
}
