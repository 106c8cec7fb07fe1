//! Confinement of a child, before it reads its job.
//!
//! On Linux it gives up: inherited descriptors, new privileges, memory and processor time beyond
//! its limits, files (it can open none, and write no byte to one), core dumps, and by seccomp every
//! system call except those that compute, wait, and read and write the pipes. So it has no network,
//! no files and no other process. It has a lower priority than reviews, dies with the process that
//! started it, and is ended first when memory is short. Where the kernel or an emulator has no
//! seccomp, a few files are allowed: wasmtime makes memory images in some. On other systems only
//! the parent's limits hold.

use super::limits::Limits;

/// Gives up the rights that a child does not need.
///
/// # Errors
///
/// Returns a sentence about the rights that could not be given up.
#[cfg(not(target_os = "linux"))]
pub(super) fn confine(_: Limits) -> Result<(), String> {
    Err("only Linux supports them".to_owned())
}

#[cfg(target_os = "linux")]
pub(super) use linux::confine;

#[cfg(target_os = "linux")]
mod linux {
    use super::Limits;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    use std::collections::BTreeMap;
    use std::io;

    pub(crate) fn confine(limits: Limits) -> Result<(), String> {
        // Makes the kernel end the child first when memory is short. A sandbox without /proc has no
        // such setting.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        let limit = system_limits(limits).map_err(|error| format!("limits can't be set: {error}"));
        let calls = filter().and_then(|filter| {
            seccompiler::apply_filter(&filter).map_err(|error| error.to_string())
        });
        // With the filter, no call can raise a limit any more.
        let limit = match (&calls, limit) {
            (Err(_), Ok(())) => memory_images(limits)
                .map_err(|error| format!("limits of files can't be raised: {error}")),
            (_, limit) => limit,
        };
        limit.and(
            calls.map_err(|error| format!("system calls can't be restricted by seccomp: {error}")),
        )
    }

    /// Open files that suffice to make memory images.
    const FILES_OF_IMAGES: u64 = 32;

    #[cfg(target_env = "gnu")]
    type Resource = libc::__rlimit_resource_t;
    #[cfg(not(target_env = "gnu"))]
    type Resource = libc::c_int;

    fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
        let limit = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        #[expect(unsafe_code, reason = "the system's own call, on this process")]
        // SAFETY: the structure lives as long as the call.
        let result = unsafe { libc::setrlimit(resource, &raw const limit) };
        checked(result)
    }

    fn checked(result: libc::c_int) -> io::Result<()> {
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Allows the files of memory images. wasmtime does without them only where `memfd_create` is
    /// missing, as the filter makes it look.
    fn memory_images(limits: Limits) -> io::Result<()> {
        limit(libc::RLIMIT_FSIZE, limits.memory, limits.memory)?;
        limit(libc::RLIMIT_NOFILE, FILES_OF_IMAGES, FILES_OF_IMAGES)
    }

    #[expect(
        unsafe_code,
        reason = "the system's own calls, on this process, with numbers"
    )]
    fn system_limits(limits: Limits) -> io::Result<()> {
        let [no, yes]: [libc::c_ulong; 2] = [0, 1];
        // SAFETY: the arguments are numbers. No value in this process owns one of the descriptors
        // that are closed, because the process has just begun.
        unsafe {
            // Missing in kernels before 5.9. There, only descriptors that the parent marked so are
            // closed on exec.
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32);
            // Adds to the niceness of this process, which anybody may.
            libc::nice(limits.niceness.into());
            checked(libc::prctl(
                libc::PR_SET_PDEATHSIG,
                libc::c_ulong::from(libc::SIGKILL.unsigned_abs()),
            ))?;
            checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, no, no, no))?;
        }
        limit(libc::RLIMIT_DATA, limits.memory, limits.memory)?;
        // The hard limit is higher, because its signal is SIGKILL, which doesn't say the reason.
        limit(libc::RLIMIT_CPU, limits.processor, limits.processor + 1)?;
        limit(libc::RLIMIT_CORE, 0, 0)?;
        limit(libc::RLIMIT_FSIZE, 0, limits.memory)?;
        limit(libc::RLIMIT_NOFILE, 3, FILES_OF_IMAGES)
    }

    /// The allowed system calls. All others return ENOSYS, for which libraries have fallbacks.
    const ALLOWED_CALLS: [libc::c_long; 33] = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_tgkill,
        // musl's abort().
        libc::SYS_tkill,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
    ];

    fn filter() -> Result<BpfProgram, String> {
        let mut rules: BTreeMap<_, _> = ALLOWED_CALLS
            .into_iter()
            .map(|call| (call, vec![]))
            .collect();
        let threads = libc::CLONE_THREAD.unsigned_abs().into();
        rules.insert(
            libc::SYS_clone,
            vec![if_first_argument(SeccompCmpOp::MaskedEq(threads), threads)?],
        );
        let name = libc::PR_SET_NAME.unsigned_abs().into();
        rules.insert(
            libc::SYS_prctl,
            vec![if_first_argument(SeccompCmpOp::Eq, name)?],
        );
        let arch = std::env::consts::ARCH
            .try_into()
            .map_err(|_| "no filter for this processor".to_owned())?;
        let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let filter = SeccompFilter::new(rules, unknown, SeccompAction::Allow, arch);
        filter
            .and_then(TryInto::try_into)
            .map_err(|error: seccompiler::BackendError| error.to_string())
    }

    /// Allows a call whose first argument matches.
    fn if_first_argument(operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, operator, value);
        condition
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(|error| error.to_string())
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::fs::File;
        use std::net::{TcpListener, TcpStream, UdpSocket};
        use std::os::fd::FromRawFd as _;
        use std::process::{Command, Stdio};

        /// Set in the process that makes the attempts.
        const TRIES: &str = "SALLYPORT_TEST_CONFINED";

        /// Returns the names of the attempts that succeed, of all that a confined process must not
        /// be able to do.
        fn possible(address: &str) -> Vec<&'static str> {
            let attempts: [(&str, bool); 9] = [
                ("read a file", std::fs::read("/proc/self/status").is_ok()),
                (
                    "write a file",
                    std::fs::write("/tmp/sallyport-confined", "x").is_ok(),
                ),
                ("list a directory", std::fs::read_dir("/").is_ok()),
                (
                    "remove a file",
                    std::fs::remove_file("/tmp/sallyport-confined").is_ok(),
                ),
                ("connect", TcpStream::connect(address).is_ok()),
                ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
                ("send datagrams", UdpSocket::bind("127.0.0.1:0").is_ok()),
                (
                    "start a process",
                    Command::new("/bin/true")
                        .stdout(Stdio::null())
                        .status()
                        .is_ok(),
                ),
                (
                    "take 300 MiB",
                    vec![1_u8; 0].try_reserve_exact(300 << 20).is_ok(),
                ),
            ];
            attempts
                .into_iter()
                .filter(|(_, possible)| *possible)
                .map(|(name, _)| name)
                .collect()
        }

        #[test]
        fn a_confined_process_reaches_nothing() {
            if let Ok(address) = std::env::var(TRIES) {
                // Before: all of it, so that the attempts are real.
                assert_eq!(possible(&address).len(), 9);
                confine(Limits {
                    memory: 200 << 20,
                    processor: 60,
                    niceness: 10,
                })
                .expect("this kernel can do so");
                assert_eq!(possible(&address), [""; 0]);
                std::process::exit(77);
            }
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            tried("a_confined_process_reaches_nothing", &address);
        }

        #[test]
        fn memory_images_are_made_where_there_is_no_seccomp() {
            if std::env::var_os(TRIES).is_none() {
                return tried("memory_images_are_made_where_there_is_no_seccomp", "");
            }
            let limits = Limits {
                memory: 200 << 20,
                processor: 60,
                niceness: 10,
            };
            system_limits(limits).expect("this kernel can do so");
            assert!(!makes_image());
            memory_images(limits).expect("the limits can be raised");
            assert!(makes_image());
            std::process::exit(77);
        }

        #[expect(unsafe_code, reason = "the system's own call")]
        fn makes_image() -> bool {
            // SAFETY: the name is a constant.
            let image = unsafe { libc::memfd_create(c"image".as_ptr(), 0) };
            // SAFETY: nobody else owns the descriptor, which has just been made.
            let file = (image >= 0).then(|| unsafe { File::from_raw_fd(image) });
            file.is_some_and(|file| file.set_len(1 << 20).is_ok())
        }

        /// Runs a test of these in a process of its own, which ends with 77.
        fn tried(test: &str, address: &str) {
            let name = format!("engine::child::confinement::linux::tests::{test}");
            let tried = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "--test-threads=1", &name])
                .env(TRIES, address)
                .output()
                .expect("it runs");
            assert_eq!(
                tried.status.code(),
                Some(77),
                "{}",
                String::from_utf8_lossy(&tried.stdout)
            );
        }
    }
}
