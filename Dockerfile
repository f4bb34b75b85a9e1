# The command `widthwise` as an image; pip and what it needs stay behind in the first stage.
#   docker build --tag widthwise .
#   docker run --rm widthwise --help

FROM python:3.13-slim AS build
RUN python -m venv /opt/widthwise
ENV PATH=/opt/widthwise/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# Where the usual index's torch brings CUDA along (Linux on x86-64), an index of CPU-only builds
# given here makes the image some gigabytes smaller: a local version such as 2.13.0+cpu wins.
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
# The dependencies first: their layer outlives changes of the code.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY LICENSE README.md __init__.py py.typed ./
COPY integrations integrations
COPY objectives objectives
COPY search search
COPY storage storage
# torch brought setuptools, the build backend, in the version that is locked.
RUN pip install --no-build-isolation --no-deps .

FROM python:3.13-slim
RUN groupadd --gid 1000 widthwise \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp widthwise \
    && install --directory --owner 1000 --group 1000 /studies \
    && install --directory --mode 1777 /checkpoints
COPY --from=build /opt/widthwise /opt/widthwise
# A new volume takes the mode of the folder that it covers: /checkpoints is writable for any user id.
# HOME and USER are set for whoever runs the image under another user id, which has no entry in
# /etc/passwd; /tmp is writable in a read-only container too.
ENV PATH=/opt/widthwise/bin:$PATH \
    HOME=/tmp \
    USER=widthwise \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /studies
USER 1000:1000
ENTRYPOINT ["widthwise"]
CMD ["--help"]
