# The way of a host from a process of this machine to its own PID 1. Called as PID 1 of new namespaces for mounts, processes,
# names and queues, in the host's network: boot.sh FOLDER CGROUP.
set -eu
if [ "$#" = 2 ]; then
  # Nothing of the former boot is left in the control group, and nothing from outside comes into it: its root is PID 1's.
  find "$2" -mindepth 1 -depth -type d -exec rmdir {} +
  mkdir "$2/by-hand"
  echo 0 > "$2/cgroup.procs"
  exec unshare --cgroup sh -c "$BOOT" boot "$1"
fi
folder=$1 root=$1/root
# Disks that were mounted in the root come along.
mount --rbind "$root" "$root"
# The machine's programs, and those for all hosts over them; what the host changes of them is on its own disk.
over() { mount -t overlay overlay -o "lowerdir=$3/$1,upperdir=$folder/$2/changed,workdir=$folder/$2/work" "$root/$1"; }
over usr usr "$folder/../all-usr:"
[ ! -d /var/lib/dpkg ] || over var/lib/dpkg dpkg ""
mount --bind "$folder/../all-names" "$root/etc/hosts"
mount -t tmpfs -o mode=755,size=64m tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
# The machine's settings are not the host's to change. Its boot has a name of its own, which the kernel does not give.
cat /proc/sys/kernel/random/uuid > "$folder/boot_id"
for fixed in sys sysrq-trigger; do
  [ -e "$root/proc/$fixed" ] || continue
  mount --bind "$root/proc/$fixed" "$root/proc/$fixed"
  mount -o remount,bind,ro "$root/proc/$fixed"
done
mount --bind "$folder/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$root/sys"
mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
cd "$root"
pivot_root . mnt
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c '
  cd / && umount -l /mnt && exec /lib/systemd/systemd --system --log-target=journal'
