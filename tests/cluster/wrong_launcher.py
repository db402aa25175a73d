"""Files for `ray up`, whoever has the machines, each with one mistake."""

from tests.cluster.wrong_file import drop, files, put, replace

START = "head_start_ray_commands[1]"
JOIN = "worker_start_ray_commands[1]"
WORLD = [{"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
LAUNCHER = files(
    "aws-gpu.yaml",
    ("typo in a key", put("max_worker", 3), "max_worker", "unknown key: did you mean max_workers?"),
    (
        "open security group",
        put("provider.security_group", {"IpPermissions": WORLD}),
        "provider.security_group.IpPermissions[0].IpRanges[0].CidrIp",
        "must not let the world in",
    ),
    (
        "open by IPv6",
        put("provider.security_group", {"IpPermissions": [{"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]}),
        "provider.security_group.IpPermissions[0].Ipv6Ranges[0].CidrIpv6",
        "must not let the world in",
    ),
    (
        "half of the world",
        put("setup_commands[0]", "ufw allow from 128.0.0.0/1; chmod 600 ~/.ray/auth_token"),
        "setup_commands[0]",
        "must not let the world in",
    ),
    ("head that is not there", put("head_node_type", "master"), "Ray", "`head_node_type` must be one of"),
    ("machines that stay", put("provider.cache_stopped_nodes", True), "provider.cache_stopped_nodes", "must be false"),
    (
        "machines that stay, by default",
        drop("provider.cache_stopped_nodes"),
        "provider.cache_stopped_nodes",
        "must be false",
    ),
    ("no idle timeout", drop("idle_timeout_minutes"), "idle_timeout_minutes", "missing: a worker that is idle must go"),
    ("idle timeout as text", put("idle_timeout_minutes", "10"), "idle_timeout_minutes", "must be a number"),
    (
        "image of today",
        put("docker.worker_image", "registry.example.org/neuroiou-study:latest"),
        "docker.worker_image",
        "must name one image for good",
    ),
    (
        "nightly image",
        put("docker.head_image", "rayproject/ray:nightly-py311"),
        "docker.head_image",
        "must name one image for good",
    ),
    (
        "image without a tag",
        put("available_node_types.l4-spot.docker", {"worker_image": "registry.example.org:5000/ray"}),
        "available_node_types.l4-spot.docker.worker_image",
        "must name one image for good",
    ),
    ("typo in docker", put("docker.imag", "x:1"), "docker.imag", "unknown key: did you mean image?"),
    ("container without a name", drop("docker.container_name"), "Ray", "Must provide a container & image name"),
    ("Ray's own setup", drop("setup_commands"), "setup_commands", "missing: Ray's own are taken"),
    (
        "Ray's own setup of workers",
        drop("worker_setup_commands"),
        "worker_setup_commands",
        "missing: Ray's own are taken",
    ),
    (
        "nightly wheel",
        put("head_setup_commands", ["pip install ray-3.0.0.dev0-nightly.whl"]),
        "head_setup_commands[0]",
        "must not install what changes every night",
    ),
    (
        "Ray's own start",
        drop("worker_start_ray_commands"),
        "worker_start_ray_commands",
        "missing: must have `ray start`",
    ),
    (
        "dashboard for all",
        replace(START, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
        f"{START}: --dashboard-host",
        "0.0.0.0: must be 127.0.0.1",
    ),
    ("no token asked", replace(JOIN, "RAY_AUTH_MODE=token ", ""), f"{JOIN}: RAY_AUTH_MODE=token", "missing"),
    (
        "token switched off",
        replace(START, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
        f"{START}: RAY_AUTH_MODE=token",
        "missing",
    ),
    (
        "token not carried",
        put("file_mounts", {}),
        "file_mounts.~/.ray/auth_token",
        "missing: the nodes ask for the token in it",
    ),
    ("token for all to read", put("setup_commands", []), "setup_commands: chmod 600", "missing"),
    (
        "no autoscaling",
        replace(START, "--autoscaling-config", "--x"),
        f"{START}: --autoscaling-config",
        "no worker is ever started",
    ),
    (
        "worker that joins nobody",
        replace(JOIN, "$RAY_HEAD_IP", "10.0.0.4"),
        f"{JOIN}: --address=$RAY_HEAD_IP:6379",
        "missing",
    ),
    (
        "access key",
        put("provider.aws_credentials", {"aws_access_key_id": "AKIA" + "A1B2C3D4E5F6G7H8"}),
        "provider.aws_credentials",
        "unknown key",
    ),
    (
        "secret in a command",
        replace(JOIN, "export ", "export AWS_SECRET_ACCESS_KEY=wJalr "),
        f"{JOIN}.AWS_SECRET_ACCESS_KEY",
        "(not shown): must not be a secret",
    ),
    (
        "private key",
        put("metadata", {"note": "-----BEGIN RSA PRIVATE KEY-----\nMIIE"}),
        "metadata.note",
        "(not shown): must not be a private key",
    ),
    (
        "user and password",
        replace(START, "http://mlflow", "http://me:word@mlflow"),
        START,
        "(not shown): must not be a password",
    ),
    (
        "zone of another region",
        put("provider.availability_zone", "eu-west-1a"),
        "provider.availability_zone",
        "must be a zone of us-east-1",
    ),
    ("typo in provider", put("provider.regoin", "us-east-1"), "provider.regoin", "did you mean region?"),
    ("no region", drop("provider.region"), "provider.region", "missing"),
    (
        "at least more than at most",
        put("available_node_types.l4-spot.min_workers", 9),
        "available_node_types.l4-spot.min_workers",
        "must be at most the 8",
    ),
    (
        "size without an end",
        drop("available_node_types.l4-spot.max_workers"),
        "available_node_types.l4-spot.max_workers",
        "missing",
    ),
    (
        "list for a mapping of types",
        put("available_node_types.l4-spot", []),
        "available_node_types.l4-spot",
        "must be a mapping of keys",
    ),
)
