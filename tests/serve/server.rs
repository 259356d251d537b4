//! A server of the executable that is started for a test.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::Client;
use crate::support::Sandbox;

/// A server of the executable at a free port. It is killed at the end, if it was not ended before.
pub struct Server {
    child: Child,
    client: Client,
    /// What it says on standard error.
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `secateur serve` with these arguments and waits until it listens.
    pub fn start(sandbox: &Sandbox, arguments: &[&str]) -> Server {
        Server::start_command(sandbox.command(["serve", "--port", "0"].iter().chain(arguments)))
    }

    pub fn start_command(mut command: Command) -> Server {
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {}", said.lock().unwrap())).unwrap();
            let address = line.split_once(" at http://").map(|(_, address)| address.parse().unwrap());
            said.lock().unwrap().push_str(&(line + "\n"));
            if let Some(address) = address {
                break address;
            }
        };
        let rest = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                rest.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Server { child, client: Client { address }, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until this holds.
    #[track_caller]
    pub fn wait_until(&self, holds: impl Fn(&Server) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to end, as `kill` does.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        (self.child.wait().unwrap(), self.said())
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.said();
        assert!(std::thread::panicking() || !said.contains("panicked"), "{said}");
    }
}
