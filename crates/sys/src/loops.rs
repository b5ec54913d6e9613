//! Loop devices: a file as a block device (loop(4), linux/loop.h).

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Result};

const CONTROL: &str = "/dev/loop-control";
const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LOOP_CLR_FD: u64 = 0x4C01;
const LOOP_SET_STATUS64: u64 = 0x4C04;
const LOOP_GET_STATUS64: u64 = 0x4C05;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often somebody else may take a device that was free a moment ago.
const RACES: usize = 100;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const EMPTY: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// How a file is attached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attach {
    /// Nothing is written through the device.
    pub read_only: bool,
    /// The device goes with its last user: this value, or a mount.
    pub until_unused: bool,
}

/// A loop device, held open. Without [`Attach::until_unused`] it stays when this is dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    open: File,
}

impl LoopDevice {
    /// Attaches `file` to a device that is free. The end of `tag` (63 bytes) is written into the device, so that [`detach`] can tell whose
    /// it is.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no free device (the kernel's reason is told).
    pub fn attach(file: impl AsRef<Path>, tag: &str, how: Attach) -> Result<Self> {
        let path = file.as_ref();
        let opened = OpenOptions::new().read(true).write(!how.read_only).open(path);
        let file = opened.map_err(|e| Error::io("open", path, e))?;
        let control = File::open(CONTROL).map_err(|e| Error::io("open", CONTROL, e))?;
        let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Error::io("attach", path, Errno::BADF))?;
        let mut info = Info { file_name: tagged(tag), ..EMPTY };
        info.flags |= if how.read_only { LO_FLAGS_READ_ONLY } else { 0 };
        info.flags |= if how.until_unused { LO_FLAGS_AUTOCLEAR } else { 0 };
        for _ in 0..RACES {
            // SAFETY: the request takes no argument and answers a number.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
            if number < 0 {
                return Err(Error::io("find a free loop device for", path, std::io::Error::last_os_error()));
            }
            let device = PathBuf::from(format!("/dev/loop{number}"));
            let opened = OpenOptions::new().read(true).write(true).open(&device);
            let open = opened.map_err(|e| Error::io("open", &device, e))?;
            let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
            // SAFETY: both descriptors are open for the length of the call, and `config` is what the request reads.
            if unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CONFIGURE as _, std::ptr::from_ref(&config)) } == 0 {
                return Ok(Self { path: device, open });
            }
            let error = std::io::Error::last_os_error();
            if Errno::from_io_error(&error) != Some(Errno::BUSY) {
                return Err(Error::io("attach to a loop device", path, error));
            }
        }
        Err(Error::io("find a free loop device for", path, Errno::BUSY))
    }

    /// Has a device that was attached [`Attach::until_unused`] stay until it is detached.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn keep(self) -> Result<()> {
        let fail = |error| Error::io("keep loop device", &self.path, error);
        let mut info = status(&self.open).map_err(fail)?;
        info.flags &= !LO_FLAGS_AUTOCLEAR;
        // SAFETY: the descriptor is open for the length of the call, and `info` is what the request reads.
        let set = unsafe { libc::ioctl(self.open.as_raw_fd(), LOOP_SET_STATUS64 as _, std::ptr::from_ref(&info)) };
        if set == 0 { Ok(()) } else { Err(fail(std::io::Error::last_os_error())) }
    }

    /// The device's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the file off a device, at once or when its last mount is gone; says whether it was attached with this `tag`.
///
/// # Errors
/// When the device cannot be opened or the kernel refuses.
pub fn detach(device: impl AsRef<Path>, tag: &str) -> Result<bool> {
    let path = device.as_ref();
    let Some(open) = owned(path, tag)? else { return Ok(false) };
    // SAFETY: the descriptor is open for the length of the call; the request takes no argument.
    if unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CLR_FD as _, 0) } == 0 {
        return Ok(true);
    }
    match std::io::Error::last_os_error() {
        error if Errno::from_io_error(&error) == Some(Errno::NXIO) => Ok(false),
        error => Err(Error::io("detach loop device", path, error)),
    }
}

/// True while a device has a file that was attached with this `tag`.
///
/// # Errors
/// When the device cannot be opened or asked.
pub fn is_attached(device: impl AsRef<Path>, tag: &str) -> Result<bool> {
    owned(device.as_ref(), tag).map(|found| found.is_some())
}

fn owned(path: &Path, tag: &str) -> Result<Option<File>> {
    let open = match File::open(path) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    };
    match status(&open) {
        Ok(info) => Ok((info.file_name == tagged(tag)).then_some(open)),
        // Nothing is attached, or this is no loop device.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NXIO | Errno::NOTTY)) => Ok(None),
        Err(error) => Err(Error::io("ask loop device", path, error)),
    }
}

fn status(open: &File) -> std::io::Result<Info> {
    let mut info = EMPTY;
    // SAFETY: the descriptor is open for the length of the call, and `info` is what the request fills; any bytes are valid in it.
    let got = unsafe { libc::ioctl(open.as_raw_fd(), LOOP_GET_STATUS64 as _, std::ptr::from_mut(&mut info)) };
    if got == 0 { Ok(info) } else { Err(std::io::Error::last_os_error()) }
}

/// The end of a text, with a zero byte after it.
fn tagged(tag: &str) -> [u8; 64] {
    let mut name = [0; 64];
    let bytes = tag.as_bytes();
    let end = bytes.get(bytes.len().saturating_sub(63)..).unwrap_or_default();
    name.iter_mut().zip(end).for_each(|(place, byte)| *place = *byte);
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_device_until_it_is_detached_by_who_attached_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk");
        std::fs::write(&file, vec![7_u8; 4096]).unwrap();
        let tag = dir.path().to_str().unwrap();
        let how = Attach { read_only: true, until_unused: true };
        let device = LoopDevice::attach(&file, tag, how).unwrap();
        let path = device.path().to_owned();
        assert_eq!(std::fs::read(&path).unwrap(), vec![7_u8; 4096]);
        device.keep().unwrap();
        assert!(is_attached(&path, tag).unwrap());
        assert!(!detach(&path, "somebody else's").unwrap());
        assert!(detach(&path, tag).unwrap());
        assert!(!is_attached(&path, tag).unwrap());
        LoopDevice::attach(dir.path().join("missing"), tag, how).unwrap_err();
    }
}
