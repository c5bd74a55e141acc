//! The program `attestlog`: parses the command line, runs one command, and exits with what it found.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.start_tracing();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no threads to run on: {error}");
            return cli::failure::CANNOT_CHECK.into();
        }
    };
    let result = runtime.block_on(cli.run());
    // A thread that still reads a pipe is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(cli::Verdict::Holds) => ExitCode::SUCCESS,
        Ok(cli::Verdict::DoesNotHold) => cli::failure::DOES_NOT_HOLD.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
