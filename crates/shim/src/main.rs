//! `containerd-shim-wharf-v1`: one beside each container or pod.

fn main() -> std::process::ExitCode {
    wharf_shim::main(std::env::args().skip(1))
}
