# A host with ssh and SLURM for tests, in a namespace of processes of its own: when the first
# process of it ends, all daemons and all jobs end. Started by board_host.py in its folder.
set -e
if [ "$(id -u)" = 0 ]; then
    # sshd wants an empty directory there; this mount is seen by the host's processes only.
    mount -t tmpfs none /run
    mkdir /run/sshd
    for size in 256k 80m; do
        mkdir "disk_$size"
        mount -t tmpfs -o "size=$size" none "disk_$size"
    done
fi
munged --foreground --force --key-file="$PWD/munge/key" --socket="$PWD/munge/socket" \
    --pid-file="$PWD/munge/pid" --seed-file="$PWD/munge/seed" > munged.log 2>&1 &
while [ ! -S munge/socket ]; do sleep 0.05; done
slurmctld -D > slurmctld.log 2>&1 &
slurmd -D -N board-01 > slurmd.log 2>&1 &
"$SSHD" -D -e -f "$PWD/sshd_config" > sshd.log 2>&1 &
wait
