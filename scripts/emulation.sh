# shellcheck shell=bash
# Running Linux programs of another processor, by qemu's user mode. Sourced after lib.sh.
#
# Sallyport starts itself again to compile. Such a program can only be emulated when the kernel
# knows the emulator (binfmt_misc). If it does not, root registers qemu for the time of a test.

# The name under which it is registered here.
readonly HANDLER=sallyport-aarch64 BINFMT=/proc/sys/fs/binfmt_misc

is_native() { [[ $1 == "$(uname -m)"-* ]]; }

# can_run TARGET: succeeds when programs of that target run here.
can_run() {
    is_native "$1" && return
    [[ $1 == aarch64-* && $(uname -s) == Linux ]] || return 1
    registered && return
    { have qemu-aarch64-static || apt_install qemu-user-static; } && register
}

why_not() {
    if have qemu-aarch64-static; then
        echo "the kernel knows no emulator for it, and only root can register one in $BINFMT"
    else
        echo "qemu-aarch64-static is not installed (Debian: qemu-user-static)"
    fi
}

registered() { grep -qs '^enabled' "$BINFMT"/qemu-aarch64 "$BINFMT/$HANDLER"; }

register() {
    local qemu magic mask
    qemu=$(command -v qemu-aarch64-static) || return 1
    # ELF, 64 bit, little endian, executable or shared object, AArch64: as qemu's own scripts/qemu-binfmt-conf.sh has it.
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    {
        [[ -e $BINFMT/register ]] || run_as_root mount -t binfmt_misc none "$BINFMT"
        # F: the emulator is opened now, so that it is found in containers and chroots, too.
        printf ':%s:M::%s:%s:%s:F' "$HANDLER" "$magic" "$mask" "$qemu" | run_as_root tee "$BINFMT/register"
    } >/dev/null 2>&1
    registered
}

stop_emulation() {
    [[ ! -e $BINFMT/$HANDLER ]] || echo -1 | run_as_root tee "$BINFMT/$HANDLER" >/dev/null 2>&1 || true
}
