# The operator and the libraries it is linked with, on nothing else. images/build.sh prepares the folder that is copied, from a
# release build: `make images`, or with a registry of your own `make push IMAGE_PREFIX=registry.example/dunlin`. This file by itself
# builds nothing; images/Dockerfile does, from source.
FROM scratch
COPY . /
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/mqtt-operator"]
CMD ["run"]
