{
  # node-gyp's own flags speak C++17; the core is C++20 and needs neither exceptions nor run-time type information.
  "targets": [
    {
      "target_name": "sealog",
      "dependencies": ["zstd"],
      "sources": [
        "native/binding/addon.cc",
        "native/binding/arguments.cc",
        "native/binding/cache_functions.cc",
        "native/binding/commit_functions.cc",
        "native/binding/dictionary_functions.cc",
        "native/binding/environment.cc",
        "native/binding/file_functions.cc",
        "native/binding/index_functions.cc",
        "native/binding/socket_functions.cc",
        "native/binding/testing_functions.cc",
        "<!@(node -p \"require('fs').readFileSync('native/sources.txt', 'utf8').trim().split(/\\s+/).map((file) => 'native/' + file).join(' ')\")"
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED"
      ],
      "cflags": ["-fvisibility=hidden", "-Wall", "-Wextra"],
      "cflags!": ["-O2"],
      "cflags_cc": ["-std=c++20", "-O3"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++14", "-std=gnu++20"],
      "conditions": [
        ["OS=='linux'", { "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,relro,-z,now"] }],
        ["OS=='mac'", {
          "xcode_settings": {
            "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
            "GCC_OPTIMIZATION_LEVEL": "3",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "11.0"
          }
        }]
      ]
    },
    {
      # Linked in, none of its names seen from outside: Node has a zstd of its own. Single-threaded: the threads are ours.
      "target_name": "zstd",
      "type": "static_library",
      "sources": ["<!@(node -p \"require('./native/zstd.cjs').sources\")"],
      "defines": ["ZSTDLIB_VISIBLE=", "ZSTDERRORLIB_VISIBLE=", "XXH_NAMESPACE=ZSTD_", "ZSTD_NO_TRACE", "ZSTD_DISABLE_ASM", "DEBUGLEVEL=0"],
      "cflags": ["-fvisibility=hidden"],
      "cflags!": ["-O3"],
      "cflags_c": ["-O2"],
      "direct_dependent_settings": { "include_dirs": ["<!(node -p \"require('./native/zstd.cjs').includes\")"] },
      "conditions": [
        ["OS=='mac'", {
          "xcode_settings": {
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "11.0"
          }
        }]
      ]
    }
  ]
}
